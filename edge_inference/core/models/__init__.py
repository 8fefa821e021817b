"""The model folder: description, golden check, self-check and memory check."""
