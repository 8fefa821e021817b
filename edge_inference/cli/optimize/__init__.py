"""The actions of ``edge-inference optimize``."""
