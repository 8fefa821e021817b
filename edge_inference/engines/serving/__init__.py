"""One engine in service, the preparation of the next one, and measured costs."""
