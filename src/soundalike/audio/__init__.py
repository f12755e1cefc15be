"""From an audio file or an array to a mono waveform."""
