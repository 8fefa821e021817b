"""How `compare` runs, and how it shows engines beside each other."""
