"""Tools for the workstation: compare, bisect, quantize. No node imports them."""
