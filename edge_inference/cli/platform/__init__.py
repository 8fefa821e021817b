"""What the platform command shows, records and tunes."""
