"""From sound to what a robot is to do: activity, recognition, grammar, plan."""
