"""Composable, low-latency inference nodes for ROS 2 robots.

The import of this package is fast: ROS, OpenCV, ONNX Runtime and TensorRT are imported
only by the modules that need them.
"""

import pkgutil

# On a robot the generated messages (edge_inference.msg) are in the same folder as the modules;
# for a source tree they are in the prefix of the build.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
