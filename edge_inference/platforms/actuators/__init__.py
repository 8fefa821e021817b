"""Settings of the machine that can be changed: allowed by name, read back and restored."""
