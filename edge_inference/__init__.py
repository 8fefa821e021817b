"""Composable, low-latency inference nodes for ROS 2 robots.

Importing this package is cheap: ROS, OpenCV, ONNX Runtime and TensorRT are
imported by the modules that need them, never from here.
"""

import pkgutil

# The generated messages (edge_inference.msg) are installed beside the Python
# modules on a robot; in a source tree they lie in the built prefix instead.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
