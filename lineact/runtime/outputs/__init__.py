"""Where events and pictures go. An output that is not asked for is not imported."""
