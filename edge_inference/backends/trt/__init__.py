"""TensorRT: runs plans on NVIDIA GPUs through pycuda."""
