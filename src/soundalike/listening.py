"""A page to listen to: pairs of a recipe, what differs within them in words, and how alike they are to an encoder."""

from __future__ import annotations

import base64
import functools
import inspect
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

import soundalike
from soundalike import audio
from soundalike.errors import SoundalikeError
from soundalike.frontend import LogMel
from soundalike.model import SoundModel
from soundalike.output import make_folder
from soundalike.probe.floor import LOG_MEL_STATISTICS, LogMelStatistics
from soundalike.recipe import SECTIONS, Recipe
from soundalike.synth import ParameterSpec, Synthesizer
from soundalike.views.doppelganger import HELD_OUT

CROWD = 200  # further pairs: their sounds say where 0 is and how near unrelated sounds are
MOST = 100  # pairs on a page
NAMED, HEARD = 8, 0.3  # knobs of a pair that are named at most, and dB that make one worth naming
SMALL = 0.05  # part of a knob's way
LOWEST, HIGHEST, BANDS, DEPTH = 50.0, 8000.0, 96, 70.0  # of the spectrograms: Hz, Hz, mel bands, dB


@dataclass(frozen=True)
class Change:
    """How one knob differs between the two patches of a pair.

    Attributes:
        spec: the knob.
        words: what differs.
        moved: from A to B, as a part of the knob's way, in [0, 1].
        heard: dB by which A's spectrogram changes, averaged over time and mel bands, with this knob alone as in B.
    """

    spec: ParameterSpec
    words: str
    moved: float
    heard: float


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
    if out.is_dir():
        raise SoundalikeError(f"{out}: is a folder; give the name of a file, such as {out / 'pairs.html'}.")
    make_folder(out.parent)
    parts = recipe.build()
    voice, model = parts.voice, SoundModel(recipe, parts) if model is None else model
    with torch.no_grad():
        pairs = parts.views.numbered(seed, HELD_OUT + torch.arange(count + CROWD))  # no run trains on these
        patches = zip(pairs.first_patch[:count], pairs.second_patch[:count], strict=True)
        changes = [differences(voice, *both) for both in patches]
    sounds = torch.cat((pairs.first, pairs.second)).numpy()  # (2 (count + CROWD), samples)
    floor = LogMelStatistics()
    resampled = [audio.prepare(sound, voice.sample_rate, floor.sample_rate) for sound in sounds]
    name = f"{'trained' if model.training else 'untrained'} encoder"
    vectors = {name: model.embed(sounds, voice.sample_rate), LOG_MEL_STATISTICS: floor(resampled)}
    scores = [likeness(name, x[: count + CROWD], x[count + CROWD :], count) for name, x in vectors.items()]
    shown = zip(pairs.first, pairs.second, changes, strict=False)  # as many as there are changes
    sections = [_pair(i, voice, torch.stack(both), found, scores) for i, (*both, found) in enumerate(shown)]
    page = _page(recipe, model, parts.views, scores, "\n".join(sections), seed)
    try:
        partial = out.with_name(out.name + ".part")
        partial.write_text(page, encoding="utf-8", errors="replace")
        os.replace(partial, out)
    except OSError as error:
        raise SoundalikeError(f"{out}: cannot be written ({error.strerror}); give another file.") from None
    return out


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


def differences(voice: Synthesizer, first: Tensor, second: Tensor) -> list[Change]:
    """What differs between two patches, what is heard most first; knobs that do not move are left out.

    Args:
        voice: what renders the patches.
        first: knob positions of A, (size,).
        second: knob positions of B, (size,).
    """
    moved = (second - first).abs()
    knobs = torch.nonzero(moved > 1e-4)[:, 0]
    patches = first.repeat(len(knobs) + 1, 1)  # A with one knob of B each, and A itself
    patches[torch.arange(len(knobs)), knobs] = second[knobs]
    levels = spectrograms(voice(patches, noise_seed=0), voice.sample_rate)
    heard = (levels[:-1] - levels[-1]).abs().mean((1, 2))
    units = voice.to_units(torch.stack((first, second))).T.tolist()
    changes = [
        Change(voice.specs[k], in_words(voice.specs[k], *units[k]), float(moved[k]), float(own))
        for k, own in zip(knobs.tolist(), heard, strict=True)
    ]
    return sorted(changes, key=lambda change: -change.heard)


def spectrograms(sounds: Tensor, sample_rate: int) -> Tensor:
    """Mel spectrograms (n, T, bands) of sounds (n, samples): dB above the least that is shown."""
    fft = 2 << (round(0.046 * sample_rate) - 1).bit_length()
    frontend = LogMel(sample_rate, 0.046, 0.005, fft, BANDS, LOWEST, min(HIGHEST, sample_rate / 2), 1e-5, None)
    levels = torch.cat([frontend.whole(some)[:, 0] for some in sounds.split(32)]) * (20 / math.log(10))
    return (levels - levels.amax() + DEPTH).clamp(min=0.0)


def in_words(spec: ParameterSpec, before: float, after: float) -> str:
    """How a knob differs, such as ``0.4 semitones higher (A4 → A4)``.

    Args:
        spec: the knob.
        before: its value in A, in its unit.
        after: its value in B.
    """
    last, unit, way = spec.name.rpartition(".")[2], spec.unit, after < before  # way: 0 up, 1 down
    if unit.startswith("log2 "):
        before, after, unit = 2**before, 2**after, unit.removeprefix("log2 ")
    apart = _figures(abs(after - before))[0]
    if spec.group == "level" and not unit and spec.minimum == 0:  # an amplitude
        if min(before, after) < 1e-3 * spec.maximum:
            return f"silent in {'AB'[way]}"
        return f"{('louder', 'quieter')[way]} by {abs(20 * math.log10(after / before)):.1f} dB"
    if unit == "rad" and math.isclose(spec.maximum - spec.minimum, 2 * math.pi):
        return f"turned by {abs(math.degrees(math.remainder(after - before, 2 * math.pi))):.0f}°"
    if unit in ("midi", "semitones") and "depth" not in last:
        notes = f" ({_note(before)} → {_note(after)})" if unit == "midi" else ""
        return f"{apart} semitones {('higher', 'lower')[way]}{notes}"
    more = _vocabulary()["more"]
    keys = (last, f"{spec.group} {unit}", unit)
    word = next((more[key] for key in keys if key in more), ("more", "less"))[way]
    if "depth" in last:  # the sign is a direction
        word = "reversed" if before * after < 0 else ("more", "less")[abs(after) < abs(before)]
    if unit in ("dB", "octaves"):
        return f"{word} by {apart} {unit}"
    if not unit and (spec.minimum, spec.maximum) == (0.0, 1.0):
        before, after, unit = 100 * before, 100 * after, "%"
    elif unit == "s" and max(before, after) < 0.1:
        before, after, unit = 1000 * before, 1000 * after, "ms"
    a, b = _figures(before, after)
    return f"{word}, {a} {unit if len(unit) < 3 else ''}".rstrip() + f" → {b} {unit}".rstrip()


def label(spec: ParameterSpec, specs: Sequence[ParameterSpec]) -> str:
    """A knob's name as people say it: ``event_1.adsr_2.attack`` is the attack of envelope 2, event 1.

    Args:
        spec: the knob.
        specs: all knobs of its voice.
    """
    stem, numbers = _indices(spec.name)
    most = max(others for other, others in map(_indices, (s.name for s in specs)) if other == stem)
    *outer, module, knob = ["", *stem.split(".")]
    words = _vocabulary()
    said = words["knobs"].get(knob, " ".join([knob, *(str(n + 1) for n in numbers)]))
    if module == "mod_matrix" and len(numbers) == 2:  # as `ModulationSection` orders them
        (to, source), pairs = numbers, (most[1] + 1) // 2
        moved = f"{('pitch', 'loudness')[to % 2]} of oscillator {to // 2 + 1}"
        moved = moved if to < most[0] else "loudness of the noise"
        said = f"{f'envelope {source + 1}' if source < pairs else f'LFO {source - pairs + 1}'} on the {moved}"
        module = ""
    elif module == "mixer" and numbers:  # the last of what is mixed is the noise
        said, module = f"{knob} of {'the noise' if numbers == most else f'source {numbers[0] + 1}'}", ""
    matches = ((re.fullmatch(pattern, module), meaning) for pattern, meaning in words["modules"].items())
    module = next((match.expand(meaning) for match, meaning in matches if match), module)
    of = f" of {module}" if module else ""
    return ", ".join([said + of, *(part for part in reversed(outer) if part)]).replace("_", " ")


def _indices(name: str) -> tuple[str, list[int]]:
    """A knob's name without the numbers at its end, and these."""
    stem, *numbers = re.split(r"\.(?=\d+(?:\.\d+)*$)", name)
    return stem, [int(number) for number in numbers]


def _note(midi: float) -> str:
    return f"{_vocabulary()['notes'][round(midi) % 12]}{round(midi) // 12 - 1}"


def _figures(*values: float) -> list[str]:
    """Numbers with as many digits as it takes to tell them apart, two at least."""
    size = math.floor(math.log10(max(1e-3, *map(abs, values))))
    tries = [[f"{value:.{max(0, more - size)}f}".replace("-", "−") for value in values] for more in range(1, 5)]
    return next((texts for texts in tries if len(set(texts)) == len(values)), tries[-1])


@functools.cache
def _vocabulary() -> dict[str, Any]:
    return dict(json.loads(_piece("listening.json")))


def _piece(name: str) -> str:
    return files("soundalike").joinpath(name).read_text(encoding="utf-8")


def _pair(index: int, voice: Synthesizer, sounds: Tensor, changes: list[Change], scores: list[Likeness]) -> str:
    number, heard = index + 1, [change for change in changes if change.heard >= HEARD]
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
<div class="head"><h2 id="pair-{number}">Pair {number}</h2><p>{escape(most)}</p>
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


def _page(recipe: Recipe, model: SoundModel, views: Any, scores: list[Likeness], sections: str, seed: int) -> str:
    voice, words, objective = views.voice, _vocabulary(), dict(recipe.sections["objective"])
    deltas: dict[str, list[float]] = {}
    for spec, delta in zip(voice.specs, views.deltas.tolist(), strict=True):
        deltas.setdefault(spec.group, []).append(delta)
    groups = "".join(
        f'<tr><th scope="row">{escape(group)}</th><td>{" to ".join(f"{v:.3g}" for v in sorted({min(own), max(own)}))}'
        f"</td><td>{len(own)}</td><td>{escape(words['groups'].get(group, ''))}</td></tr>"
        for group, own in deltas.items()
    )
    made = [words["noise"].get(views.noise, "")]
    if augment := recipe.sections["views"].get("augment"):
        kinds = [str(item.get("name") if isinstance(item, Mapping) else item) for item in augment]
        made.append(f"Then each view is changed by {', '.join(kinds)}, each by numbers of its own.")
    called = objective.pop("name")
    about = (inspect.getdoc(SECTIONS["objective"][called]) or "").split("\n\n")[0].replace("`", "")
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in objective.items())
    minutes = float(model.training.get("seconds", 0.0)) / 60
    encoder = f"The encoder was trained for {minutes:.3g} minutes with the recipe {model.recipe.name}."
    if not model.training:
        encoder = "The encoder is untrained: its weights are random. Give --model to see what training makes of it."
    rows = "".join(
        f'<tr><th scope="row">{escape(score.name)}</th><td>{_signed(np.median(score.crowd))}</td>'
        f"<td>{' to '.join(_signed(np.quantile(score.unrelated, q)) for q in (0.05, 0.95))}</td>"
        f"<td>{100 * score.found:.0f} %</td></tr>"
        for score in scores
    )
    return Template(_piece("listening.html")).substitute(
        title=f"Soundalikes of {escape(recipe.name)}",
        style=_piece("listening.css"),
        voice=escape(recipe.sections["voice"]["name"]),
        knobs=voice.size,
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
    stream = io.BytesIO()
    soundfile.write(stream, sound.numpy(), sample_rate, format="WAV", subtype="PCM_16")
    return base64.b64encode(stream.getvalue()).decode()
