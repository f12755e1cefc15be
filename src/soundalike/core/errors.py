"""The one exception that a user is meant to read, and the hint that most such messages end with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SoundalikeError(Exception):
    """Bad input, said in one sentence: what was wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class AudioError(SoundalikeError):
    """A sound that cannot be read or embedded, and why. In a batch it costs no other sound."""


class UnreadableFolderWarning(UserWarning):
    """A folder that may not be looked into; what is in it is not found."""


class SoundWarning(UserWarning):
    """What is to be known of a sound that is used all the same: its channels cancel, it is silent, or not whole."""


class LeftOutWarning(UserWarning):
    """Files of a folder that look like sounds and are not read."""


class TruncatedAudioWarning(SoundWarning):
    """A file that ends too early; what could be decoded of it is used."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the known names nearest to ``word``, or lists them all where none is near.

    Args:
        word: what was asked for.
        known: the names that exist.

    Returns:
        A sentence such as ``did you mean 'esc10'? Known: esc10, esc50.``
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    hint = "did you mean " + " or ".join(repr(name) for name in close) + "? " if close else ""
    return f"{hint}Known: {', '.join(names)}."
