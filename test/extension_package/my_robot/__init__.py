"""What one robot adds to edge_inference; setup.cfg lists it."""
