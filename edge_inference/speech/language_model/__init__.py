"""Small language models that turn text into a plan, under constrained decoding."""
