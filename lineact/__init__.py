"""lineact: from a camera over one station to a real-time recogniser of the worker's actions."""
