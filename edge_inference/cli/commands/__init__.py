"""The commands: each file defines the options of one command and starts its work."""
