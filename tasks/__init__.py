"""What files: one module per DVC stage."""
