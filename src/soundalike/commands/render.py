"""``soundalike render``."""

from __future__ import annotations

import argparse

from soundalike.commands.arguments import number, path, seed, whole
from soundalike.core.errors import SoundalikeError, nearest

HELP = "write patches, or augmentations of a recording, as wav files"
NEEDS = ("matplotlib",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--out", type=path, required=True, help="folder for the files")
    parser.add_argument(
        "--augment", type=path, metavar="FILE", help="render what every augmentation makes of this recording instead"
    )
    parser.add_argument("--augmentations", nargs="+", metavar="NAME", help="which of them (default: all)")
    parser.add_argument("--voice", default="voice", help="voice, voice-fm, parametric or scene (default: voice)")
    parser.add_argument("--count", type=whole, help="how many patches (default: 4), or draws (default: 3)")
    parser.add_argument("--delta", type=number, nargs="+", default=[0.05, 0.1, 0.25, 0.5], help="sizes of the nudges")
    parser.add_argument("--seed", type=seed, default=0, help="which patches or draws (default: 0)")
    parser.add_argument("--sample-rate", type=whole, default=16_000, help="in Hz (default: 16000)")
    parser.add_argument("--seconds", type=number, default=1.0, help="length of every sound (default: 1)")
    parser.add_argument("--uniform-in", default="units", help="units or knobs: how patches are drawn (default: units)")


def run(options: argparse.Namespace) -> int:
    """Renders, and says what was written."""
    if options.augment is not None:
        return _augment(options)
    if options.augmentations:
        raise SoundalikeError("--augmentations are of a recording: give it with --augment FILE.")
    from soundalike.apps.render.patches import render
    from soundalike.synth import VOICES

    if options.voice not in VOICES:
        raise SoundalikeError(f"unknown voice {options.voice!r}: {nearest(options.voice, VOICES)}")
    voice = VOICES[options.voice](sample_rate=options.sample_rate, seconds=options.seconds)
    files = render(
        voice,
        options.out,
        4 if options.count is None else options.count,
        options.delta,
        options.seed,
        options.uniform_in,
    )
    print(f"{options.out}: {len(files) - 2} sounds, patches.json, spectrograms.png")
    return 0


def _augment(options: argparse.Namespace) -> int:
    from soundalike.apps.render.augmentations import render_augmentations

    count = 3 if options.count is None else options.count
    files = render_augmentations(
        options.augment, options.out, options.augmentations, count, options.seed, options.sample_rate
    )
    sounds = sum(file.suffix == ".wav" for file in files)
    print(f"{options.out}: {sounds} sounds, augmentations.json, augmentations.png")
    return 0
