"""``soundalike studio``: pairs of a voice to hear, to see and to change, in a browser."""
