"""The node that manages temperature and power."""
