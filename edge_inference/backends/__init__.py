"""Inference backends behind one interface; vendor packages are imported when a backend opens."""
