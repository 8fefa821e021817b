"""Built engines, derived models and measured costs on disk, by content and machine."""
