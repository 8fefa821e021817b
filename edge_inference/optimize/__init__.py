"""The workstation's tools: compare, bisect, quantize. No node reaches them."""
