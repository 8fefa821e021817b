"""Measures engines and pipelines under load, and compares measurements."""
