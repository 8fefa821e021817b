"""Thermal and power control: decides from sensor readings how much inference nodes may do."""
