"""Distillation: a small model learns from the outputs of a large one."""
