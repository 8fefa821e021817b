"""Mixed precision by measured latency: which parts of a network compute in which precision."""
