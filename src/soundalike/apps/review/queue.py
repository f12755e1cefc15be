"""Which sounds a person is asked about next."""

from __future__ import annotations

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.eval.probe import single_threaded_and_quiet, standardisation

ORDERS = ("unsure", "likely", "unlike", "random")
"""Least sure first; most likely of a class; unlike anything that is labelled; at random."""
FIRST = 20
"""Labels that are asked for before a classifier's doubts are heeded."""
_CLUSTERED = 2000  # sounds among which kinds are looked for
_AT_ONCE = 4096  # rows compared at a time
_AHEAD = 4  # times as many sounds as are asked for, of which those that differ are taken


def units(vectors: np.ndarray) -> np.ndarray:
    """Embeddings (n, D), standardised and of length 1, whose products are cosines."""
    mean, scale = standardisation(vectors)
    rows = (vectors - mean) * scale
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def ordered(
    order: str,
    unit: np.ndarray,
    labelled: np.ndarray,
    probabilities: np.ndarray | None,
    column: int | None = None,
    examples: np.ndarray | None = None,
    first: np.ndarray | None = None,
    most: int = 60,
    seed: int = 0,
) -> np.ndarray:
    """The sounds without a label in the order in which a person shall meet them.

    Args:
        order: one of ``ORDERS``. As long as nothing is learned, ``likely`` goes by the examples and ``unsure`` is
            ``unlike`` but for what comes first.
        unit: what `units` gives, (n, D).
        labelled: whether a sound has a label, (n,).
        probabilities: of each class for each sound, (n, classes); None where nothing is learned yet.
        column: which class, of ``likely``.
        examples: the rows that have its label.
        first: what ``unsure`` begins with until as many sounds have labels, rows as `kinds` gives them.
        most: how many.
        seed: of the random order, and of the first sound where nothing is labelled.

    Returns:
        Rows, (at most ``most``,).

    Raises:
        SoundalikeError: there is no such order.
    """
    if order not in ORDERS:
        raise SoundalikeError(f"unknown order {order!r}: {nearest(order, ORDERS)}")
    open_rows = np.flatnonzero(~labelled)
    if not len(open_rows):
        return open_rows
    if order == "random":
        rank = np.random.default_rng(seed).permutation(len(labelled))
        return open_rows[np.argsort(rank[open_rows])][:most]
    if order == "likely" and probabilities is not None and column is not None:
        return open_rows[np.argsort(-probabilities[open_rows, column], kind="stable")][:most]
    if order == "likely" and examples is not None and len(examples):
        return open_rows[np.argsort(-_closest(unit[open_rows], unit[examples]), kind="stable")][:most]
    if order == "unsure":
        begin = np.zeros(0, int) if first is None or labelled.sum() >= len(first) else first[~labelled[first]]
        open_rows = np.setdiff1d(open_rows, begin)
        if not len(open_rows) or len(begin) >= most:
            return begin[:most]
        if probabilities is not None:
            rest = _unsure(unit, open_rows, probabilities[open_rows], most)
        else:
            rest = farthest(unit, open_rows, np.concatenate([np.flatnonzero(labelled), begin]), most, seed)
        return np.concatenate([begin, rest])[:most]
    return farthest(unit, open_rows, np.flatnonzero(labelled), most, seed)


def kinds(unit: np.ndarray, count: int = FIRST, seed: int = 0) -> np.ndarray:
    """One sound of each of many kinds, by k-means, that of the largest first: what a person is asked about first.

    A classifier of a handful of labels is sure of the wrong things; it learns more from what is typical of the folder.

    Args:
        unit: what `units` gives, (n, D).
        count: of kinds.
        seed: of k-means, and of the sounds that it looks at where there are many.

    Returns:
        Rows, (at most ``count``,).

    Source: Hacohen et al. 2022, "Active learning on a budget" (arXiv 2202.02794), for few labels; here the sound next
    to the middle of a cluster.
    """
    from sklearn.cluster import KMeans

    rows = np.random.default_rng(seed).permutation(len(unit))[:_CLUSTERED]
    if len(rows) <= count:
        return rows
    with single_threaded_and_quiet():
        found = KMeans(count, n_init=1, random_state=seed).fit(unit[rows])
        distance = found.transform(unit[rows])
    size = np.bincount(found.labels_, minlength=count)
    own = [np.flatnonzero(found.labels_ == each) for each in np.argsort(-size, kind="stable") if size[each]]
    return rows[[each[distance[each, found.labels_[each[0]]].argmin()] for each in own]]


def _unsure(unit: np.ndarray, open_rows: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """Those whose two likeliest classes are nearest to each other, and of these, one of each kind first.

    The next few labels are asked for before anything is learned from the first of them: sounds that are alike would
    tell the same several times.

    Source: margin sampling, Scheffer et al. 2001, "Active hidden Markov models for information extraction".
    """
    top = np.sort(probabilities, axis=1)[:, -2:]
    margin = top[:, -1] - top[:, 0]
    near = np.argsort(margin, kind="stable")[: _AHEAD * most]
    taken, left = [near[0]], list(near[1:])
    closest = unit[open_rows[near[1:]]] @ unit[open_rows[near[0]]]
    worth = 1 - margin[near[1:]]
    while left and len(taken) < most:
        best = int(np.argmax(worth * (1 - np.maximum(closest, 0))))
        taken.append(left.pop(best))
        closest, worth = np.delete(closest, best), np.delete(worth, best)
        closest = np.maximum(closest, unit[open_rows[left]] @ unit[open_rows[taken[-1]]]) if left else closest
    return open_rows[np.array(taken)]


def farthest(unit: np.ndarray, open_rows: np.ndarray, known: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Sounds each of which is the least like all that are known and all before it.

    Source: the greedy choice of centres of Gonzalez 1985, "Clustering to minimize the maximum intercluster distance".
    """
    points = unit[open_rows]
    taken: list[int] = []
    if len(known):
        closest = _closest(points, unit[known])
    else:
        taken.append(int(np.random.default_rng(seed).integers(len(points))))
        closest = points @ points[taken[0]]
        closest[taken[0]] = np.inf
    while len(taken) < min(most, len(points)):
        taken.append(int(closest.argmin()))
        closest = np.maximum(closest, points @ points[taken[-1]])
        closest[taken] = np.inf
    return open_rows[np.array(taken[:most], int)]


def _closest(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The cosine of each point (n, D) with the known one that is most like it, (n,)."""
    parts = np.array_split(points, len(points) // _AT_ONCE + 1)
    return np.concatenate([(part @ known.T).max(1) for part in parts])


def alike(unit: np.ndarray, row: int, labelled: np.ndarray, most: int) -> np.ndarray:
    """The sounds without a label that are most like one, the most alike first, without that one."""
    closeness = unit @ unit[row]
    closeness[labelled] = -np.inf
    closeness[row] = -np.inf
    rows = np.argsort(-closeness, kind="stable")[:most]
    return rows[closeness[rows] > -np.inf]
