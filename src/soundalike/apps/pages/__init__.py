"""Pages of sounds to look at and to hear."""
