"""C libraries that write to standard error of their own accord, kept from it while they are called."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()
_inside = 0  # calls in progress
_kept: int | None = None  # the stream that C code writes to outside of them


@contextmanager
def quiet() -> Iterator[None]:
    """What C code prints with ``fprintf(stderr, …)`` meanwhile goes nowhere; Python's ``sys.stderr`` stays as it is.

    mpg123 says so what it finds in damaged frames, and libsndfile has no way to ask it not to. Where the C library is
    one whose stream cannot be exchanged, nothing is done.
    """
    global _inside, _kept
    found = _streams()
    if found is None:
        yield
        return
    variable, nowhere = found
    with _lock:
        if _inside == 0:
            _kept, variable.value = variable.value, nowhere
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                variable.value = _kept


@cache
def _streams() -> tuple[ctypes.c_void_p, int] | None:
    """The variable with the C library's stream for errors, and a stream that leads nowhere."""
    if os.name != "posix":
        return None
    try:
        library = ctypes.CDLL(None)
        variable = ctypes.c_void_p.in_dll(library, "__stderrp" if sys.platform == "darwin" else "stderr")
        library.fopen.restype = ctypes.c_void_p
        nowhere = library.fopen(os.devnull.encode(), b"w")
    except (OSError, ValueError, AttributeError):
        return None
    return (variable, nowhere) if nowhere else None
