"""Quantization-aware training and the comparison of quantized models with fp32."""
