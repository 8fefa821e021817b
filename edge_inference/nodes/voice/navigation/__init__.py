"""The client of Nav2 and the goals that it watches."""
