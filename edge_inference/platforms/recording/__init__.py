"""A machine's sensors in a file, and played back from it."""
