"""The command ``run voice``: a voice pipeline in the process of the command line."""
