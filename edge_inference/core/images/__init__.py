"""Images: encodings, files, geometry and preprocessing."""
