"""Sensing and setting the machine: temperatures, power, clocks, modes."""
