"""Speech recognition: voice activity detection, the recogniser and command mode."""
