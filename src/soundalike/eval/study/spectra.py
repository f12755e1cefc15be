"""What synthetic sounds are like beside real recordings, feature by feature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundalike.audio import read
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.figures import save_figure
from soundalike.core.files import make_folder, write_whole
from soundalike.eval.study.features import FEATURES, RATE, features
from soundalike.eval.study.report import page, paragraph, picture, table
from soundalike.eval.study.scoring import some_files
from soundalike.model.recipe import Recipe

TABLE, FIGURE, REPORT = "spectra.json", "spectra.png", "report.html"
QUANTILES = (5, 25, 50, 75, 95)
_SECONDS = 10.0  # of a recording that are listened to
Table = dict[str, np.ndarray]
"""A value for each sound (n,), by feature; not a number where a sound has none."""


def of_recipe(recipe: Recipe, count: int, seed: int = 0) -> Table:
    """Features of the first views that a recipe trains with.

    Args:
        recipe: it says the voice, how patches are drawn and nudged, and how views are augmented.
        count: how many sounds, at least 2.
        seed: which ones.
    """
    views = recipe.build().doppelgangers
    sounds: list[dict[str, float]] = []
    for number in torch.arange(count).split(64):
        with torch.no_grad():
            rendered = views.batch(seed, number).first
        sounds += [features(read.prepare(sound, views.voice.sample_rate, RATE)) for sound in rendered.numpy()]
    return _table(sounds)


def of_folder(folder: str | Path, count: int, seed: int = 0) -> tuple[Table, list[tuple[Path, str]]]:
    """Features of the recordings in a folder.

    Args:
        folder: searched for audio.
        count: the most files to take, at least 2; drawn at random where there are more.
        seed: which ones.

    Returns:
        The features, and the files that could not be read, each with why.

    Raises:
        SoundalikeError: there is no such folder, or fewer than 2 of its files can be read.
    """
    sounds, broken = [], []
    for file in some_files(folder, count, seed):
        try:
            sounds.append(features(read.decode(file, [RATE], _SECONDS).waveforms[RATE]))
        except AudioError as error:
            broken.append((file, str(error).removeprefix(f"{file}: ")))
    if len(sounds) < 2:
        raise SoundalikeError(
            f"{folder}: {len(sounds)} of its {len(sounds) + len(broken)} sounds can be read; give at least 2."
        )
    return _table(sounds), broken


def _table(sounds: Sequence[Mapping[str, float]]) -> Table:
    return {name: np.array([sound[name] for sound in sounds]) for name in FEATURES}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples in units of the standard deviation of both together.

    Args:
        a: values (n,); those that are not numbers are left out.
        b: values (m,).

    Returns:
        0 for equal distributions; not a number where a sample has no numbers.
    """
    from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]

    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if not len(a) or not len(b):
        return float("nan")
    spread = np.concatenate((a, b)).std()
    return float(wasserstein_distance(a, b) / spread) if spread > 0 else 0.0


def summary(synthetic: Mapping[str, Table], real: Mapping[str, Table]) -> dict[str, Any]:
    """Quantiles of every source, and the distance of every synthetic source from every real one.

    Args:
        synthetic: name to features.
        real: name to features.

    Returns:
        ``quantiles``: source to feature to the `QUANTILES`; ``distance``: synthetic source to real source to feature
        to a number, and ``mean`` over features. None where there are no numbers.
    """
    quantiles = {
        source: {
            name: [_number(q) for q in np.percentile(kept, QUANTILES)]
            if len(kept := values[np.isfinite(values)])
            else [None] * len(QUANTILES)
            for name, values in found.items()
        }
        for source, found in {**synthetic, **real}.items()
    }
    distances: dict[str, Any] = {}
    for source, found in synthetic.items():
        for other, recorded in real.items():
            by_feature = {name: distance(found[name], recorded[name]) for name in FEATURES}
            by_feature["mean"] = float(np.nanmean([*by_feature.values()]))
            distances.setdefault(source, {})[other] = {name: _number(value) for name, value in by_feature.items()}
    return {"quantiles": quantiles, "distance": distances}


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def write(synthetic: Mapping[str, Table], real: Mapping[str, Table], out: str | Path) -> dict[str, Any]:
    """Writes ``spectra.json``, ``spectra.png`` and ``report.html``.

    Args:
        synthetic: name to features.
        real: name to features.
        out: folder for the files.

    Returns:
        What `summary` returns.
    """
    out, sources = make_folder(Path(out)), {**synthetic, **real}
    found = summary(synthetic, real)
    counts = {source: len(values["silence"]) for source, values in sources.items()}
    text = json.dumps({"sounds": counts, "percentiles": QUANTILES, **found}, indent=1)
    write_whole(out / TABLE, text + "\n", "the table")
    _draw(sources, list(synthetic), out / FIGURE)
    about = (
        "Distance: Wasserstein-1 between the two distributions, divided by the standard deviation of both together; "
        "0 is the same distribution. Recordings are listened to for 10 s at most, everything at 16 kHz. "
        "Sounds: " + "; ".join(f"{source}, {count}" for source, count in counts.items()) + "."
    )
    each = [(a, b) for a in synthetic for b in real]
    ratios = [
        [title, *(_cell(found["distance"][a][b][name]) for a, b in each)]
        for name, title in {**FEATURES, "mean": "mean of all"}.items()
    ]
    middles = [
        [title, *(" · ".join(_cell(q) for q in found["quantiles"][source][name]) for source in sources)]
        for name, title in FEATURES.items()
    ]
    sections = [
        paragraph(about, soft=True),
        picture(out / FIGURE, "Every feature, 2nd to 98th percentile; the line is the median."),
        "<h2>Distance</h2>",
        table(("feature", *(f"{a} – {b}" for a, b in each)), ratios),
        "<h2>Percentiles 5 · 25 · 50 · 75 · 95</h2>",
        table(("feature", *sources), middles),
    ]
    html = page("Synthetic sounds beside recordings", sections)
    write_whole(out / REPORT, html, "the report")
    return found


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _draw(sources: Mapping[str, Table], synthetic: Sequence[str], path: Path) -> None:
    """A panel for each feature, a violin for each source."""
    from soundalike.eval.study.figure import COLOURS, panels

    figure, axes = panels(len(FEATURES), columns=4, width=1.6 + 0.5 * len(sources), height=2.8)
    labels = [f"{number + 1}" for number in range(len(sources))]
    for axis, (name, title) in zip(axes, FEATURES.items(), strict=True):
        for number, (source, found) in enumerate(sources.items()):
            values = found[name][np.isfinite(found[name])]
            if not len(values):
                continue
            low, high = np.percentile(values, (2, 98))
            values = np.clip(values, low, high)
            if high > low:  # a density needs some width
                violin = axis.violinplot([values], [number], widths=0.8, showextrema=False)["bodies"][0]
                violin.set_facecolor(COLOURS[number % len(COLOURS)])
                violin.set_alpha(0.75 if source in synthetic else 0.35)
            axis.hlines(np.median(values), number - 0.3, number + 0.3, color="#222222", linewidth=1.4)
        axis.set_title(title, size=9)
        axis.set_xticks(range(len(sources)), labels, size=8)
        axis.tick_params(axis="y", labelsize=8)
        axis.grid(axis="y", alpha=0.25)
    listed = [f"{number + 1} {source}" for number, source in enumerate(sources)]
    figure.supxlabel(" · ".join(listed), size=9)
    save_figure(figure, path)
