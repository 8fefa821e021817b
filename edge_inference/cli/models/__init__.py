"""What the commands do with models and engines."""
