"""``edge-inference validate``: runs scenarios and judges their targets."""
