"""How the process holds its memory."""

from __future__ import annotations

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """Lets glibc keep the memory of large tensors for the next ones, instead of handing it back every time.

    Without it the first touch of every large tensor is a page fault: two million of them in four training steps,
    which a virtual machine can take longer over than over the arithmetic. Tensors of 128 MiB and more still come and
    go: kept, they leave holes, and a run of 768 pairs in fp32 holds 8.5 GB instead of 6.2. A process-wide setting, so
    it is made by commands and runs, not by importing anything. Does nothing where the C library is another one.
    """
    mmap_threshold, trim_threshold = -3, -1  # the numbers of mallopt(3)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 128 << 20)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there was not enough memory, as Python, NumPy or PyTorch say it.

    Args:
        error: error to look at.
    """
    said = str(error).lower()
    signs = ("out of memory", "allocate memory", "not enough memory", "storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(sign in said for sign in signs)
