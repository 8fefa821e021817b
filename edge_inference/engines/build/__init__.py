"""TensorRT engines: network, profiles, build options and the supervised build."""
