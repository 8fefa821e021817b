"""From a graph that only ONNX Runtime runs to graphs of ONNX's own operators.

Files for ONNX Runtime hold operators of its own: fused ones, and integer arithmetic that
quantises on the way. Other engines read none of that, and few read a graph that branches.
"""
