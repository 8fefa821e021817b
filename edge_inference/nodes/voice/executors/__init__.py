"""Who executes the steps of a plan that are not velocities."""
