"""Inference engines behind one contract; vendors are imported when one is opened."""
