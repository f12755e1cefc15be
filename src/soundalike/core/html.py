"""What the head of every report has in common."""

STILL = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)
"""The policy of a page of one file that runs no script and asks nothing of any network."""
