"""What to ask of inference, from what is sensed; pure functions of time and readings."""
