"""Studies: many runs or many sounds compared, each with a table and a figure."""
