"""The work behind the actions: cycles of standard steps, and where they differ from the standard."""
