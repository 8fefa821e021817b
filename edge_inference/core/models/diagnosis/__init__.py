"""Says why a model cannot be used: what its file is, and what its network or description lacks."""
