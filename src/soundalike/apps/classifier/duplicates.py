"""Clips that are there twice: by the contents of their files, and by how they sound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundalike.core.union_find import Links
from soundalike.data.datasets.folds import identical

ALIKE = 0.98
"""Cosine of two clips' standardised embeddings from which they are taken for the same recording."""
_AT_ONCE = 1024  # rows compared at a time
_MOST_NAMED = 3


def twins(
    paths: Sequence[Path], labels: np.ndarray, vectors: np.ndarray, folds: np.ndarray | None = None
) -> tuple[list[str], list[str]]:
    """Which clips are the same sound, and what to say of it.

    Args:
        paths: their files, (n,).
        labels: their classes, (n,).
        vectors: their standardised embeddings, (n, D).
        folds: the part of the data in which each is tested, (n,), where that is not ours to change.

    Returns:
        A name for each clip, which clips that are the same share, (n,); and warnings, a sentence each.
    """
    copies = identical(paths)
    links: Links[int] = Links()
    first: dict[str, int] = {}
    for row, path in enumerate(paths):
        if path in copies:
            links.join(first.setdefault(copies[path], row), row)
    exact = [links.root(row) for row in range(len(paths))]
    close = [pair for pair in _alike(vectors) if exact[pair[0]] != exact[pair[1]]]
    for one, other in close:
        links.join(other, one)
    warnings = _of_copies(paths, labels, exact)
    across = [pair for pair in close if labels[pair[0]] != labels[pair[1]]]
    if across:
        warnings.append(
            f"{_count(len(across), 'pair')} of clips in different classes sound nearly the same, and one of the "
            f"labels may be wrong: {_pairs(paths, across)}."
        )
    within = [pair for pair in close if labels[pair[0]] == labels[pair[1]]]
    if within and folds is None:
        warnings.append(
            f"{_count(len(within), 'pair')} of clips sound nearly the same, as copies do; they were kept together, so "
            f"that the estimate is not too high: {_pairs(paths, within)}."
        )
    if folds is not None:
        roots = [links.root(row) for row in range(len(paths))]
        together = [(root, row) for row, root in enumerate(roots) if root != row and folds[root] != folds[row]]
        if together:
            warnings.append(
                f"{_count(len(together), 'pair')} of clips that are the same, or sound so, in different folds of the "
                f"data, so that the estimate is too high: {_pairs(paths, together)}."
            )
    return [str(paths[links.root(row)]) for row in range(len(paths))], warnings


def _of_copies(paths: Sequence[Path], labels: np.ndarray, exact: Sequence[int]) -> list[str]:
    groups: dict[int, list[int]] = defaultdict(list)
    for row, name in enumerate(exact):
        groups[name].append(row)
    several = [rows for rows in groups.values() if len(rows) > 1]
    warnings = []
    wrong = [rows for rows in several if len({labels[row] for row in rows}) > 1]
    if wrong:
        pairs = []
        for rows in wrong:
            other = next(row for row in rows if labels[row] != labels[rows[0]])
            pairs.append((rows[0], other))
        warnings.append(
            f"{_count(len(wrong), 'file')} in more than one class, which is an error in the labels; keep one of each: "
            f"{_pairs(paths, pairs)}."
        )
    repeated = [(rows[0], rows[1]) for rows in several if len({labels[row] for row in rows}) == 1]
    if repeated:
        warnings.append(
            f"{_count(len(repeated), 'file')} more than once in a class; copies teach nothing: "
            f"{_pairs(paths, repeated)}."
        )
    return warnings


def _alike(vectors: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows whose cosine is ``ALIKE`` or more."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    pairs = []
    for start in range(0, len(units), _AT_ONCE):
        cosines = units[start : start + _AT_ONCE] @ units[start:].T
        for one, other in np.argwhere(cosines >= ALIKE):
            if one < other:
                pairs.append((start + int(one), start + int(other)))
    return pairs


def _pairs(paths: Sequence[Path], pairs: Sequence[tuple[int, int]]) -> str:
    named = [f"{_short(paths[one])} and {_short(paths[other])}" for one, other in pairs[:_MOST_NAMED]]
    more = f" and {len(pairs) - _MOST_NAMED} more" if len(pairs) > _MOST_NAMED else ""
    return "; ".join(named) + more


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:])


def _count(count: int, what: str) -> str:
    verb = "" if what == "pair" else (" is" if count == 1 else " are")
    return f"{count} {what}{'' if count == 1 else 's'}{verb}"
