"""Speech without ROS: audio, recognition, understanding and planning."""
