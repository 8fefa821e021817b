"""Lowers graphs that only ONNX Runtime runs to standard ONNX operators.

Models exported for ONNX Runtime contain its contrib operators: fused operators, and integer
arithmetic with dynamic quantization. Other engines do not support these, and few support a graph
with branches.
"""
