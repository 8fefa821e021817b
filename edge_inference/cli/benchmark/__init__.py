"""``edge-inference benchmark``: engines and pipelines under load, reports and comparisons."""
