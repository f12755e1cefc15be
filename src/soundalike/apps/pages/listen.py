"""A page to listen to: pairs of a recipe, what differs within them in words, and how alike they are to an encoder."""

from __future__ import annotations

import base64
import inspect
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import torch
from torch import Tensor

import soundalike
from soundalike.apps.pages.difference import Change, differences, label, vocabulary
from soundalike.apps.pages.parts import piece
from soundalike.apps.pages.spectrogram import DEPTH, HIGHEST, LOWEST, spectrograms
from soundalike.audio import read
from soundalike.audio.write import encoded
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, write_whole
from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, LogMelStatistics
from soundalike.model.model import SoundModel
from soundalike.model.parts import SECTIONS
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES, Synthesizer
from soundalike.views import Doppelgangers
from soundalike.views.view import HELD_OUT

CROWD = 200  # further pairs: their sounds say where 0 is and how near unrelated sounds are
MOST = 100  # pairs on a page
NAMED, HEARD = 8, 0.3  # knobs of a pair that are named at most, and dB that make one worth naming
SMALL = 0.05  # part of a knob's way


@dataclass(frozen=True)
class Likeness:
    """How alike pairs are to one representation.

    Attributes:
        name: of the representation.
        similarity: centred cosine of each pair that is shown, (n,).
        closer: how many sounds of the crowd are nearer to A than B is, (n,).
        unrelated: sorted similarities of unrelated sounds.
        crowd: similarity of each of the crowd's own pairs.
        found: share of the crowd's pairs whose B is the nearest of all the crowd's sounds to A.
    """

    name: str
    similarity: np.ndarray
    closer: np.ndarray
    unrelated: np.ndarray
    crowd: np.ndarray
    found: float


def listen(recipe: Recipe, out: str | Path, model: SoundModel | None = None, count: int = 8, seed: int = 0) -> Path:
    """Writes a page with pairs to play. It needs no other file and no network.

    Args:
        recipe: whose voice and views make the pairs.
        out: the ``.html`` file to write; its folder is made where it is missing.
        model: whose embeddings to compare; the recipe's encoder with random weights where not given.
        count: how many pairs, from 1 to 100.
        seed: which sounds, from 0 to 2**32 - 1.

    Returns:
        ``out``.

    Raises:
        SoundalikeError: a number is out of its range, or the file cannot be written.
    """
    out = Path(out)
    if not 1 <= count <= MOST:
        raise SoundalikeError(f"count is {count}: give a number of pairs from 1 to {MOST}.")
    if not 0 <= seed < 1 << 32:
        raise SoundalikeError(f"seed is {seed}: give a whole number from 0 to {(1 << 32) - 1}.")
    check_file(out, "pairs.html", make=True)
    parts = recipe.build()
    views, model = parts.synthetic, SoundModel(recipe, parts) if model is None else model
    shown, crowd = _drawn(views, count, seed)
    first, second = (torch.cat([getattr(pair, view) for pair in shown] + [getattr(crowd, view)]) for view in "ab")
    rate = parts.frontend.sample_rate
    sounds = torch.cat((first, second)).numpy()  # (2 (count + CROWD), samples)
    baseline = LogMelStatistics()
    resampled = [read.prepare(sound, rate, baseline.sample_rate) for sound in sounds]
    name = f"{'trained' if model.training else 'untrained'} encoder"
    vectors = {name: model.embed(sounds, rate), LOG_MEL_STATISTICS: baseline(resampled)}
    scores = [likeness(name, x[: count + CROWD], x[count + CROWD :], count) for name, x in vectors.items()]
    sections = [_pair(i, pair, scores) for i, pair in enumerate(shown)]
    page = _page(recipe, model, views, scores, "\n".join(sections), seed)
    write_whole(out, page, "the page")
    return out


@dataclass(frozen=True)
class _Pairs:
    """Pairs of one family, or of several where none is shown."""

    a: Tensor
    """First views, (n, samples)."""
    b: Tensor
    """Second views, (n, samples)."""
    family: str = ""
    voice: Synthesizer | None = None
    changes: Sequence[Change] = ()
    """What differs, where this is one pair."""


def _drawn(views: Mapping[str, Doppelgangers], count: int, seed: int) -> tuple[list[_Pairs], _Pairs]:
    """The pairs that are shown, by turns one of each family, and those of the crowd."""
    shown: list[_Pairs] = []
    crowd: list[_Pairs] = []
    with torch.no_grad():
        for place, (family, source) in enumerate(views.items()):
            own, others = ((total + len(views) - 1 - place) // len(views) for total in (count, CROWD))
            indices = HELD_OUT + torch.arange(own + others)  # no run trains on these
            batch, patches = source.batch(seed, indices), source.patches(seed, indices[:own])
            for pair in range(own):
                changes = differences(source.voice, patches[0][pair], patches[1][pair])
                a, b = (view[pair : pair + 1] for view in (batch.first, batch.second))
                shown.append(_Pairs(a, b, family, source.voice, changes))
            crowd.append(_Pairs(batch.first[own:], batch.second[own:]))
    order = sorted(range(count), key=lambda i: [pair.family for pair in shown[:i]].count(shown[i].family))
    together = _Pairs(torch.cat([some.a for some in crowd]), torch.cat([some.b for some in crowd]))
    return [shown[i] for i in order], together


def likeness(name: str, first: np.ndarray, second: np.ndarray, count: int) -> Likeness:
    """How alike pairs are to a representation, beside unrelated sounds.

    Args:
        name: of the representation.
        first: embeddings of the first views, (n, size).
        second: of the second views, in the same order.
        count: how many pairs are shown; the others are the crowd, at least two.
    """
    both = np.stack([first, second]).astype(np.float64)
    both -= both.mean((0, 1))
    a, b = both / np.maximum(np.linalg.norm(both, axis=2, keepdims=True), 1e-12)
    similarity = (a * b).sum(1)
    crowd = np.concatenate([a[count:], b[count:]])  # every A of the crowd, then every B
    unrelated = a[count:] @ crowd.T
    rivals, size = unrelated.copy(), len(a) - count
    rivals[np.arange(size), np.arange(size)] = rivals[np.arange(size), np.arange(size) + size] = -np.inf
    return Likeness(
        name=name,
        similarity=similarity[:count],
        closer=(a[:count] @ crowd.T > similarity[:count, None]).sum(1),
        unrelated=np.sort(unrelated[np.triu_indices(size, 1)]),
        crowd=similarity[count:],
        found=float((rivals.max(1) < similarity[count:]).mean()),
    )


def _pair(index: int, pair: _Pairs, scores: list[Likeness]) -> str:
    voice, changes, sounds = pair.voice, pair.changes, torch.cat((pair.a, pair.b))
    assert voice is not None
    number, heard = index + 1, [change for change in changes if change.heard >= HEARD]
    called = f"Pair {number}: {escape(pair.family)}" if pair.family else f"Pair {number}"
    items = "".join(
        f'<li title="{escape(c.spec.name)}"><span><b>{escape(label(c.spec, voice.specs))}</b>: {escape(c.words)} '
        f'<span class="tag">{escape(c.spec.group)}</span></span><span class="db">{c.heard:.1f} dB</span></li>'
        for c in heard[:NAMED]
    )
    named = {change.spec.name for change in heard[:NAMED]}
    far = sum(change.moved >= SMALL and change.spec.name not in named for change in changes)
    near = voice.size - len(named) - far
    rest = f"{near} other knob{'s' * (near != 1)} moved by less than {100 * SMALL:.0f} % of their way"
    rest += f", {far} by more, but {'these are' if far > 1 else 'it is'} heard less." if far else "."
    groups: dict[str, float] = {}
    for change in heard:
        groups[change.spec.group] = groups.get(change.spec.group, 0.0) + change.heard
    most = ", then ".join(sorted(groups, key=lambda group: -groups[group])[:3])
    most = f"Differs most in {most}." if most else "Hardly anything differs."
    figures = "".join(
        f'<figure><figcaption><b>{view}</b></figcaption><div class="picture">{_ticks(voice)}'
        f'<img src="data:image/png;base64,{_png(picture)}" alt="Spectrogram of sound {view} of pair {number}">'
        f'<i></i></div><div class="time" aria-hidden="true"><span>0</span><span>{voice.seconds:g} s</span></div>'
        f'<audio controls preload="auto" aria-label="Sound {view} of pair {number}" '
        f'src="data:audio/wav;base64,{_wav(sound, voice.sample_rate)}"></audio></figure>'
        for view, sound, picture in zip("AB", sounds, spectrograms(sounds, voice.sample_rate), strict=True)
    )
    return f"""<section class="pair" aria-labelledby="pair-{number}">
<div class="head"><h2 id="pair-{number}">{called}</h2><p>{escape(most)}</p>
<button type="button" aria-label="Play pair {number}: A, then B" hidden>Play A, then B</button></div>
<div class="views">{figures}</div>
<div class="facts"><div><h3>From A to B</h3><ul class="changes">{items}</ul>
<p class="rest">{rest}</p></div>
<div><h3>Similarity</h3><ul class="scores">{"".join(_score(score, index) for score in scores)}</ul></div></div>
</section>"""


def _score(score: Likeness, index: int) -> str:
    value, closer, total = float(score.similarity[index]), int(score.closer[index]), 2 * len(score.crowd)
    below = int(np.searchsorted(score.unrelated, value))
    share = 100 * below / len(score.unrelated)
    text = f"{math.floor(share)} %" if share < 99 else f"{math.floor(10 * share) / 10} %"
    apart = f"all {below:,}" if below == len(score.unrelated) else f"{text} of"
    low, high = (100 * (1 + np.quantile(score.unrelated, q)) for q in (0.05, 0.95))
    place = f'x1="{100 * (1 + value):.1f}" x2="{100 * (1 + value):.1f}"'
    rank = "B is the nearest" if not closer else f"{closer} {'is' if closer == 1 else 'are'} nearer than B"
    return (
        f'<li><span class="number">{_signed(value)}</span>{escape(score.name)}'
        '<svg class="scale" viewBox="0 0 200 16" preserveAspectRatio="none" aria-hidden="true">'
        f'<line x1="0" x2="200" y1="8" y2="8"/><rect x="{low:.1f}" y="3" width="{high - low:.1f}" height="10"/>'
        f'<line class="dot" {place} y1="0" y2="16"/></svg>'
        f'<span class="rest">nearer than {apart} unrelated pairs; of {total} other sounds, {rank} to A</span></li>'
    )


def _page(
    recipe: Recipe,
    model: SoundModel,
    views: Mapping[str, Doppelgangers],
    scores: list[Likeness],
    sections: str,
    seed: int,
) -> str:
    objective = dict(recipe.sections["objective"])
    groups = "".join(_groups(family, source) for family, source in views.items())
    made = list(dict.fromkeys(_made(source) for source in views.values()))
    if len(made) > 1:
        made = [f"{family}: {_made(source)}" for family, source in views.items()]
    named = {kind: name for name, kind in VOICES.items()}
    kinds = [f"<b>{escape(named[type(source.voice)])}</b> of {source.voice.size} knobs" for source in views.values()]
    called = objective.pop("name")
    about = (inspect.getdoc(SECTIONS["objective"][called]) or "").split("\n\n")[0].replace("`", "")
    if recipe.training.predicts:
        known = ", ".join(sorted({spec.name for source in views.values() for spec in source.target_specs}))
        about += f" Beside that it learns to predict what the synthesizer knows of each sound: {known}."
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in objective.items())
    encoder = (
        f"The encoder was trained on {model.training.get('pairs', 0):,} pairs with the recipe {model.recipe.name}."
    )
    if not model.training:
        encoder = "The encoder is untrained: its weights are random. Give --model to see what training makes of it."
    rows = "".join(
        f'<tr><th scope="row">{escape(score.name)}</th><td>{_signed(np.median(score.crowd))}</td>'
        f"<td>{' to '.join(_signed(np.quantile(score.unrelated, q)) for q in (0.05, 0.95))}</td>"
        f"<td>{100 * score.found:.0f} %</td></tr>"
        for score in scores
    )
    return Template(piece("listen.html")).substitute(
        title=f"Soundalikes of {escape(recipe.name)}",
        style=piece("theme.css") + piece("listen.css"),
        voices=" or ".join(kinds),
        noise=escape(" ".join(made)),
        deltas=groups,
        objective=f"<b>{escape(called)}</b>: {escape(about)}" + (f" ({escape(settings)})" if settings else ""),
        encoder=escape(encoder),
        centre=2 * (len(scores[0].similarity) + CROWD),
        crowd=CROWD,
        others=2 * CROWD - 1,
        summary=rows,
        pairs=sections,
        footer=f"soundalike {soundalike.__version__} · recipe {escape(recipe.name)} · sounds of seed {seed}",
    )


def _groups(family: str, views: Doppelgangers) -> str:
    """Rows of the table of δ."""
    about = vocabulary()["groups"]
    named = f"{escape(family)}: " if family else ""
    return "".join(
        f'<tr><th scope="row">{named}{escape(group)}</th><td>{", ".join(dict.fromkeys(own))}'
        f"</td><td>{len(own)}</td><td>{escape(about.get(group, ''))}</td></tr>"
        for group, own in views.differences().items()
    )


def _made(views: Doppelgangers) -> str:
    """How views come from patches, in sentences."""
    said = [vocabulary()["noise"].get(views.noise, "")]
    if views.mix is not None:
        low, high = views.mix
        said.append(f"Another sound is mixed into each, {low:g} to {high:g} dB quieter.")
    if views.augmentation is not None:
        kinds = ", ".join(prefix.split(".")[1] for prefix in views.augmentation.prefixes)
        said.append(f"Then each view is changed by {kinds}, each by numbers of its own.")
    return " ".join(said)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _ticks(voice: Synthesizer) -> str:
    """The frequency axis: a name for every octave, where it lies on the mel scale."""
    low, high = (math.log1p(hertz / 700) for hertz in (LOWEST, min(HIGHEST, voice.sample_rate / 2)))
    return "".join(
        f'<span style="bottom:{100 * (math.log1p(hertz / 700) - low) / (high - low):.1f}%">{text}</span>'
        for hertz, text in ((125, "125 Hz"), (500, "500"), (1000, "1 kHz"), (2000, "2"), (4000, "4"))
        if hertz < 0.5 * voice.sample_rate
    )


def _png(levels: Tensor) -> str:
    """A spectrogram (T, bands) as base64 of an image, low frequencies below."""
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, levels.T.numpy(), format="png", cmap="magma", vmin=0.0, vmax=DEPTH, origin="lower")
    return base64.b64encode(stream.getvalue()).decode()


def _wav(sound: Tensor, sample_rate: int) -> str:
    return base64.b64encode(encoded(sound.numpy(), sample_rate)).decode()
