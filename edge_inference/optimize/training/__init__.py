"""Training in PyTorch: models, labeled datasets, the training loop and its accuracy."""
