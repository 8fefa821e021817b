"""Finds what makes a machine slow, or its measurements unreliable, before anything is measured."""
