"""One engine in service, the next one prepared behind it, and what each costs."""
