"""From ONNX to what an engine runs best: precision flavours, engines, the cache of both."""
