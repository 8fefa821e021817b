"""Reads ONNX files without the package onnx: structure, memory, weights; and what is wrong."""
