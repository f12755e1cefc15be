"""From a waveform to an encoder's outputs, and from these to a loss."""
