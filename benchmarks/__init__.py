"""Measurements behind every claim of speed; ``make benchmark NAME=…`` runs one."""
