"""The command line's verbs: each file has the options of one, and starts its work."""
