"""The commands for models and engines: options in, reports out."""
