"""Directives of the platform manager, and the choice of the one that applies."""
