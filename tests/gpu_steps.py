"""Steps of a session that cost nothing, for tests of what runs them."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.worker import Context, Missed


def quick(context: Context, value: float = 1.0) -> dict[str, Any]:
    """Finds something."""
    return {"value": value}


def wrong(context: Context) -> dict[str, Any]:
    """Finds something that is outside its bound."""
    raise Missed("too large", {"value": 7.0})


def slow(context: Context) -> dict[str, Any]:
    """Takes longer than anybody waits."""
    time.sleep(600.0)
    return {}
