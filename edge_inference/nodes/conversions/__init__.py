"""How the objects of the pipeline look as ROS messages."""
