"""Planning: from intents to motion within limits; actions, limits and the scene."""
