"""What is known of a robot, passed on: to Prometheus, to OpenTelemetry, as JSON lines."""
