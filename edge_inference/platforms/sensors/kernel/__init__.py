"""Sensors whose files the kernel provides below /sys and /proc; one file for each kind."""
