"""From a folder of recordings to a table of clips."""
