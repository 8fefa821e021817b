"""From ONNX to what an engine runs best: derived models, engines, the cache of both."""
