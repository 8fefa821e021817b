"""The action client for Nav2, and the tracking of its goals until they end."""
