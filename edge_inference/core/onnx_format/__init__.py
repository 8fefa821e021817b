"""Reads ONNX files without the package onnx: structure, shapes, memory, files of weights."""
