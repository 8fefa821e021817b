"""ONNX files: their structure, the files of weights that belong to them, and checksums."""
