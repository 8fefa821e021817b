"""Recordings of a run as MCAP files, which Foxglove, PlotJuggler and ROS 2 read."""
