"""Images, tensors, decoders, results and latency: numpy and OpenCV only, no ROS."""
