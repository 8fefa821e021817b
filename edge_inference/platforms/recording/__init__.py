"""Recordings of a machine's sensor files, and their replay."""
