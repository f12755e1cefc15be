"""The commands: each module holds one, with its help, its arguments and what it starts.

Nothing heavy is imported before a command runs.
"""
