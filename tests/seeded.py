"""Randomness of tests."""

from __future__ import annotations

import torch


def generator(seed: int = 0) -> torch.Generator:
    """A generator of its own on the CPU."""
    return torch.Generator().manual_seed(seed)
