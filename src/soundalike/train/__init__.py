"""Training: one step, and a run in its folder."""
