"""Recipes: one YAML file from a trained network to a deployed model that meets its target."""
