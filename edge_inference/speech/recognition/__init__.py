"""From sound to text: voice activity, the recogniser and command mode."""
