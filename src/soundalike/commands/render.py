"""``soundalike render``."""

from __future__ import annotations

import argparse

from soundalike.commands.arguments import number, path, seed, whole
from soundalike.errors import SoundalikeError, nearest

HELP = "write patches and their doppelgängers as wav files, knobs and a picture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--out", type=path, required=True, help="folder for the files")
    parser.add_argument("--voice", default="voice", help="voice, voice-fm, parametric or scene (default: voice)")
    parser.add_argument("--count", type=whole, default=4, help="how many patches (default: 4)")
    parser.add_argument("--delta", type=number, nargs="+", default=[0.05, 0.1, 0.25, 0.5], help="sizes of the nudges")
    parser.add_argument("--seed", type=seed, default=0, help="which patches (default: 0)")
    parser.add_argument("--sample-rate", type=whole, default=16_000, help="in Hz (default: 16000)")
    parser.add_argument("--seconds", type=number, default=1.0, help="length of every sound (default: 1)")
    parser.add_argument("--uniform-in", default="units", help="units or knobs: how patches are drawn (default: units)")


def run(options: argparse.Namespace) -> int:
    """Renders, and says what was written."""
    from soundalike.rendering import render
    from soundalike.synth import VOICES

    if options.voice not in VOICES:
        raise SoundalikeError(f"unknown voice {options.voice!r}: {nearest(options.voice, VOICES)}")
    voice = VOICES[options.voice](sample_rate=options.sample_rate, seconds=options.seconds)
    files = render(voice, options.out, options.count, options.delta, options.seed, options.uniform_in)
    print(f"{options.out}: {len(files) - 2} sounds, patches.json, spectrograms.png")
    return 0
