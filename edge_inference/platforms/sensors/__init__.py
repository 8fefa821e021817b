"""Sensors of the kernel and of drivers, one file for each kind."""
