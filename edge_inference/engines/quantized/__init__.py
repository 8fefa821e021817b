"""How other tools have quantized a file, and for which engine it is."""
