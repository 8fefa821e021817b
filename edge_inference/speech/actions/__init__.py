"""What a robot can be told to do: one row for each action, with its slots and limits."""
