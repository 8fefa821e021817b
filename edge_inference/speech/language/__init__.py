"""From text to an intent: grammar, numbers, units and understanding."""
