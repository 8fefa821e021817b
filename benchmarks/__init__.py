"""The measurements behind the speed claims; ``make benchmark NAME=…`` runs one."""
