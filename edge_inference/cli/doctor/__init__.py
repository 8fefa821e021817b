"""``edge-inference doctor``: the examination of this machine, and its report."""
