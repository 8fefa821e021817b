"""Converts results: one file for each kind, or for the messages of one package."""
