"""Directives of the platform manager, and which of them counts."""
