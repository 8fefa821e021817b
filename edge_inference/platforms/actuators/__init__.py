"""Settings of the machine that may be changed: allowed by name, read back, and put back."""
