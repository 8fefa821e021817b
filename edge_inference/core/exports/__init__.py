"""What an exporter's files say about a model, and the description that is proposed for it."""
