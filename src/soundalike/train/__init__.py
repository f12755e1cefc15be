"""Training: one step, and a run in its folder."""

from soundalike.core.extras import require

require("soundalike.train", "lightning", "tensorboard")
