"""From an intent to bounded motion: actions, limits and the scene."""
