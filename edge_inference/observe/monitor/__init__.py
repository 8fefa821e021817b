"""What a robot does now and has done in the last hour, for pages, terminals and exporters."""
