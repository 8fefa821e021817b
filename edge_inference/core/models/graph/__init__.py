"""A model's graph: its inputs and outputs, and what model.yaml says of them."""
