"""What differs between two patches of a voice, in words and in the order in which it is heard."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from soundalike.apps.pages.parts import piece
from soundalike.apps.pages.spectrogram import spectrograms
from soundalike.synth import ParameterSpec, Synthesizer


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
    more = vocabulary()["more"]
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


def amount(spec: ParameterSpec, value: float) -> str:
    """What a knob stands at, such as ``A4``, ``12 ms`` or ``40 %``.

    Args:
        spec: the knob.
        value: in its unit.
    """
    unit = spec.unit
    if unit == "midi":
        return _note(value)
    if unit == "rad":
        value, unit = math.degrees(value), "°"
    elif unit == "logit":  # a switch
        value, unit = 100 / (1 + math.exp(-value)), "%"
    elif unit.startswith("log"):
        base, _, unit = unit.removeprefix("log").partition(" ")
        value = float(base) ** value
    elif not unit and (spec.minimum, spec.maximum) == (0.0, 1.0):
        value, unit = 100 * value, "%"
    if unit == "s" and abs(value) < 0.1:
        value, unit = 1000 * value, "ms"
    size = math.floor(math.log10(max(1e-6, abs(value))))
    digits = 0 if size > 1 or unit in ("%", "°") else max(1, 1 - size)
    text = f"{value:.{digits}f}".replace("-", "−")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = "0" if text == "−0" else text
    return f"{text}{'' if unit == '°' else ' '}{unit}".rstrip()


def label(spec: ParameterSpec, specs: Sequence[ParameterSpec]) -> str:
    """A knob's name as people say it: ``event_1.adsr_2.attack`` is the attack of envelope 2, event 1.

    Args:
        spec: the knob.
        specs: all knobs of its voice.
    """
    stem, numbers = _indices(spec.name)
    most = max(others for other, others in map(_indices, (s.name for s in specs)) if other == stem)
    *outer, module, knob = ["", *stem.split(".")]
    words = vocabulary()
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
    return f"{vocabulary()['notes'][round(midi) % 12]}{round(midi) // 12 - 1}"


def _figures(*values: float) -> list[str]:
    """Numbers with as many digits as it takes to tell them apart, two at least."""
    size = math.floor(math.log10(max(1e-3, *map(abs, values))))
    tries = [[f"{value:.{max(0, more - size)}f}".replace("-", "−") for value in values] for more in range(1, 5)]
    return next((texts for texts in tries if len(set(texts)) == len(values)), tries[-1])


@functools.cache
def vocabulary() -> dict[str, Any]:
    """Words for knobs, modules, groups and units, from ``vocabulary.json``."""
    return dict(json.loads(piece("vocabulary.json")))
