"""Confidence intervals and tests for measurements that follow each other in time."""
