"""A voice pipeline in the process of a command."""
