"""TensorRT engines: network, profiles, build options and the build thread."""
