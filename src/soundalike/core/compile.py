"""Compiled twins of functions that are called often: taken where they help, never needed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])

# A product and a sum may become one instruction, which rounds once instead of twice; indices are ours, not a user's.
_OPTIONS = {"cpp.enable_floating_point_contract_flag": "fast", "assert_indirect_indexing": False}
# Left alone, the compiler writes long chains of arithmetic to memory in between.
_ONE_KERNEL = {"realize_opcount_threshold": 2000, "realize_reads_threshold": 2000, "max_fusion_size": 1000}

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


class CompilationError(SoundalikeError):
    """Nothing can be compiled here; what was to be compiled runs as it is."""


def compiled(function: Function, one_kernel: bool = False) -> Function:
    """A twin of a pure function, compiled at its first call, for the shapes of that call.

    Args:
        function: takes and returns tensors; no gradients flow through its twin.
        one_kernel: whether all that it computes element by element should be one loop.
    """
    use_cache()
    options: dict[str, Any] = {**_OPTIONS, **(_ONE_KERNEL if one_kernel else {})}
    return cast(Function, torch.compile(function, dynamic=False, fullgraph=True, options=options))


def use_cache() -> None:
    """Keeps what is compiled where other caches of this user are, not where a restart clears it."""
    of_torch = os.path.join(tempfile.gettempdir(), "torchinductor_")  # what it sets itself when Lightning is imported
    if os.environ.get(_CACHE, of_torch).startswith(of_torch):
        os.environ[_CACHE] = str(cache_folder() / "compiled")


@contextlib.contextmanager
def failures_in_one_sentence() -> Iterator[None]:
    """Turns whatever keeps the compiler from working into a `CompilationError`."""
    try:
        yield
    except (SoundalikeError, KeyboardInterrupt):
        raise
    except Exception as error:  # no compiler, no headers, a full disk …: torch wraps each in classes of its own
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise CompilationError(f"compiling failed ({type(error).__name__}: {reason.strip()[:160]})") from error
