"""A page with sounds as points on a map, to hover and hear: neighbours are what sounds alike to a model."""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

import soundalike
from soundalike.apps.pages.page_file import link, readable
from soundalike.apps.pages.parts import inlined, piece
from soundalike.audio.excerpt import Excerpts, excerpts
from soundalike.audio.segment import Segment, Sound, as_sound, file_of
from soundalike.core.errors import SoundalikeError
from soundalike.eval.probe.figures import SHAPES
from soundalike.eval.probe.linear import single_threaded_and_quiet, standardisation
from soundalike.eval.probe.projection import project

COLOURS = ("auto", "folder", "cluster")
_FEW = 20  # groups of folders that colours and shapes can tell apart at a glance
_MOST_CLUSTERS = 12  # that are tried where their number is not given
_COMPONENTS = 20  # principal components in which clusters are looked for
_JUDGED = 1000  # sounds on which a number of clusters is judged
_SHARE = 0.6  # of a cluster's sounds that a name has to fit
_TOP = "(not in a folder)"
_GAP = 0.004  # of the map's width between points that would lie on each other


def sound_map(
    paths: Sequence[str | Path | Segment],
    vectors: np.ndarray,
    root: str | Path | None = None,
    sounds: Excerpts | None = None,
    colour: str = "auto",
    clusters: int | None = None,
    seed: int = 0,
    beside: str | Path = ".",
) -> str:
    """A page that shows sounds as points, similar ones next to each other, and plays them. It needs no network.

    Args:
        paths: of the sounds, or segments of files, (n,), at least one.
        vectors: their embeddings, (n, D), finite.
        root: the folder that names are relative to; the lowest one that holds all sounds where not given.
        sounds: what is heard of each, as `excerpts` gives it; made with its defaults where not given. A sound that
            it has not stays a point that is not heard.
        colour: what the page shows first: ``folder``, ``cluster``, or ``auto``, which is the folder where there
            are several that hold several sounds each.
        clusters: how many, from 1 to n; the number with the best silhouette where not given.
        seed: of the places and of the clusters, from 0 to 2**32 - 1.
        beside: the folder that the page will lie in, from which it links to files where ``sounds`` has links.

    Returns:
        HTML. The same for the same input.

    Raises:
        SoundalikeError: numbers of paths and vectors differ, there are none, or an argument is out of its range.
    """
    heard_of, vectors = [as_sound(path) for path in paths], np.asarray(vectors, np.float32)
    files = [file_of(sound) for sound in heard_of]
    _check(files, vectors, colour, seed)
    total = len(files)
    top = _lowest(files) if root is None else Path(root)
    inside = [_inside(file, top) for file in files]
    folders, folder = folder_groups(inside)
    found = cluster(vectors, clusters, seed)
    names = cluster_names(found, inside, folders if len(folders) > 1 else [], folder)
    sounds = excerpts(heard_of) if sounds is None else sounds
    colourings = {"folder": (folders, folder), "cluster": (names, found.tolist())}
    offered = [name for name, (groups, _) in colourings.items() if len(groups) > 1 or name == colour] or ["folder"]
    if colour == "auto":
        telling = 1 < len(folders) <= max(2, total / 2)
        colour = "folder" if telling or offered == ["folder"] else offered[-1]
    places = layout(vectors, seed)
    about = {
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "name": [readable(path.name) + _span(sound) for path, sound in zip(inside, heard_of, strict=True)],
        "folder": ["/".join(map(readable, path.parent.parts)) for path in inside],
        "seconds": [None if length is None else round(length, 3) for length in sounds.lengths],
        "colourings": [
            {"name": name, "groups": [readable(group) for group in groups], "of": of}
            for name, (groups, of) in colourings.items()
            if name in offered
        ],
        "colour": offered.index(colour),
        "shapes": SHAPES,
        "links": [link(sound, Path(beside)) for sound in heard_of] if sounds.linked else None,
    }
    heard = [base64.b64encode(clip).decode() if clip else "" for clip in sounds.clips]
    name = readable(top.absolute().name or str(top))
    part = "Sounds are played from their files, which have to stay where they are."
    if not sounds.linked:
        part = f"Of each sound, {sounds.seconds:g} s are heard, from where it begins to be audible."
    return Template(piece("map.html")).substitute(
        title=f"{escape(name)}: a map of {total:,} sound{'s' * (total != 1)}",
        folder=escape(name),
        sounds=f"{total:,} sound{'s' * (total != 1)}",
        part=part,
        style=piece("theme.css") + piece("map.css"),
        script=inlined("elements.js") + piece("map.js") + piece("map_list.js"),
        media="data: file: 'self'" if sounds.linked else "data:",
        data=_json(about),
        heard=_json([] if sounds.linked else heard),
        footer=f"soundalike {soundalike.__version__}",
    )


def _check(files: Sequence[Path], vectors: np.ndarray, colour: str, seed: int) -> None:
    total = len(files)
    if total == 0:
        raise SoundalikeError("there is no sound to put on a map.")
    if vectors.ndim != 2 or len(vectors) != total:
        raise SoundalikeError(f"the embeddings have shape {vectors.shape}: for {total} sounds give ({total}, D).")
    if not np.isfinite(vectors).all():
        raise SoundalikeError("the embeddings hold numbers that are not finite; leave those sounds out.")
    if colour not in COLOURS:
        raise SoundalikeError(f"colour is {colour!r}: give one of {', '.join(COLOURS)}.")
    if not 0 <= seed < 1 << 32:
        raise SoundalikeError(f"seed is {seed}: give a whole number from 0 to {(1 << 32) - 1}.")


def layout(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places on the plane, neighbours next to each other and no two on the same spot.

    Args:
        vectors: embeddings, (n, D), finite.
        seed: of t-SNE.

    Returns:
        (n, 2) in about [0, 1]. As `eval.probe.projection.project` puts them: t-SNE after PCA, or principal components
        where there are fewer than 10; sounds that come to lie on one spot are wound around it.
    """
    projection = project(vectors, most=len(vectors), seed=seed)
    places = np.column_stack([projection.x, projection.y]).astype(np.float64)
    same: dict[tuple[float, ...], int] = {}
    for row, spot in enumerate(places.tolist()):
        turn = same[tuple(spot)] = same.get(tuple(spot), -1) + 1
        angle, radius = turn * np.pi * (3 - 5**0.5), _GAP * turn**0.5  # a sunflower's spiral: even, however many
        places[row] += radius * np.array([np.cos(angle), np.sin(angle)])
    return places.round(4)


def cluster(vectors: np.ndarray, number: int | None = None, seed: int = 0) -> np.ndarray:
    """Groups of sounds that lie together, by k-means on the principal components.

    k-means and not a density-based method: every sound is in a cluster, a person can ask for a number of them, and
    embeddings of hundreds of numbers have too few neighbours for densities to tell much.

    Args:
        vectors: embeddings, (n, D), finite.
        number: how many, from 1 to n; from 2 to 12 the one with the best silhouette (Rousseeuw 1987) where not given.
        seed: of k-means.

    Returns:
        The cluster of each, (n,), int; 0 is the largest. Fewer than ``number`` where fewer sounds differ.

    Raises:
        SoundalikeError: ``number`` is out of its range.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    total = len(vectors)
    if number is not None and not 1 <= number <= total:
        raise SoundalikeError(f"clusters is {number}: give a number from 1 to {total}, as many as there are sounds.")
    points = np.asarray(vectors, np.float32)
    mean, scale = standardisation(points)
    points = ((points - mean) * scale)[:, scale > 0]
    differing = len(np.unique(points, axis=0)) if points.shape[1] else 1
    if differing < 3 or number == 1:
        labels = np.unique(points, axis=0, return_inverse=True)[1] if differing > 1 and number != 1 else 0
        return _largest_first(np.broadcast_to(np.reshape(labels, -1), total))
    tried = [min(number, differing)] if number else range(2, min(_MOST_CLUSTERS, differing - 1) + 1)
    judged = np.random.default_rng(seed).permutation(total)[:_JUDGED]
    best, answer = -np.inf, np.zeros(total, int)
    with single_threaded_and_quiet():
        if points.shape[1] > 1:
            points = PCA(min(_COMPONENTS, *points.shape), random_state=seed).fit_transform(points)
        for k in tried:
            labels = KMeans(k, n_init=4, random_state=seed).fit_predict(points)
            several = 1 < len(set(labels[judged].tolist())) < len(judged)
            score = silhouette_score(points[judged], labels[judged]) if several else -1.0
            if score > best:
                best, answer = score, labels
    return _largest_first(answer)


def folder_groups(inside: Sequence[Path]) -> tuple[list[str], list[int]]:
    """The folders that colours tell apart: at the level that has the most of them up to 20, or at the first.

    Args:
        inside: paths relative to the folder of the map.

    Returns:
        Names in alphabetical order, and the group of each path.
    """
    best = ["/".join(path.parts[:-1][:1]) for path in inside]
    for depth in range(2, max(len(path.parts) for path in inside)):
        groups = ["/".join(path.parts[:-1][:depth]) for path in inside]
        if len(set(best)) < len(set(groups)) <= _FEW:  # a level that tells no more only makes names longer
            best = groups
    names = sorted(set(best), key=_natural)
    number = {name: index for index, name in enumerate(names)}
    return [name or _TOP for name in names], [number[name] for name in best]


def cluster_names(
    labels: np.ndarray, inside: Sequence[Path], folders: Sequence[str], folder: Sequence[int]
) -> list[str]:
    """Names for clusters: a folder or a word of file names that most of its sounds share, otherwise a number.

    Args:
        labels: the cluster of each sound, (n,).
        inside: path of each sound.
        folders: names of the folders; none where they tell nothing.
        folder: that of each sound.

    Returns:
        A name for each cluster, all different.
    """
    words = [set(re.findall(r"[^\W\d_]{3,}", path.stem.casefold())) for path in inside]
    everywhere = Counter(word for own in words for word in own)
    names: list[str] = []
    for label in range(int(labels.max()) + 1):
        rows = np.flatnonzero(labels == label)
        name = ""
        if folders:
            most, times = Counter(folder[row] for row in rows.tolist()).most_common(1)[0]
            name = folders[most] if times >= _SHARE * len(rows) and folders[most] != _TOP else ""
        if not name:
            here = Counter(word for row in rows for word in words[row])
            # what is as common outside says nothing of this cluster
            telling = [
                (times, word)
                for word, times in here.items()
                if times >= _SHARE * len(rows) and everywhere[word] - times <= 0.3 * (len(inside) - len(rows))
            ]
            name = max(telling)[1] if telling and len(rows) > 1 and len(rows) < len(inside) else ""
        names.append(name or f"cluster {label + 1}")
    used = Counter(names)
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        if used[name] > 1:
            seen[name] += 1
            names[index] = f"{name} · {seen[name]}"
    return names


def _largest_first(labels: np.ndarray) -> np.ndarray:
    _, first, numbers, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), int)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return rank[np.reshape(numbers, -1)]


def _lowest(files: Sequence[Path]) -> Path:
    """The lowest folder that holds all files."""
    try:
        return Path(os.path.commonpath([file.absolute().parent for file in files]))
    except ValueError:  # on several drives
        return files[0].absolute().parent


def _inside(file: Path, top: Path) -> Path:
    try:
        return Path(os.path.relpath(file.absolute(), top.absolute()))
    except ValueError:  # on another drive
        return Path(file.name)


def _span(sound: Sound) -> str:
    """Where a segment lies in its file, after the file's name; empty of a whole file."""
    return f", {sound.start:.10g} to {sound.end:.10g} s" if isinstance(sound, Segment) else ""


def _natural(text: str) -> list[Any]:
    """A key by which 2 comes before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text.casefold())]


def _json(value: Any) -> str:
    # with every < written as a number, no name can end or open a tag
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
