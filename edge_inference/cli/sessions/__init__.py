"""What the commands observe: a pipeline in this process, or one that runs on this robot."""
