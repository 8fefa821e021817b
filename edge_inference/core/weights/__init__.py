"""Files of weights: which ones belong to a model, and their checksums."""
