"""Speech recognition: voice activity detection, the recognizer and command mode."""
