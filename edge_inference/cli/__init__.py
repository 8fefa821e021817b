"""The command line ``edge-inference``."""
