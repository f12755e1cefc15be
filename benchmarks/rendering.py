"""Random patches drawn and rendered, 1 s at 16 kHz, 256 at a time, with new noise for every sound of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import synthax_voices, torchsynth_voice
from benchmarks.harness import Row, alternate, in_own_process

if TYPE_CHECKING:
    from torch import Tensor

COUNT = 256
UNIT = "× real time"


def ours(voice: str, count: int = COUNT, device: str = "cpu") -> Callable[[], Tensor]:
    """A function that draws patches and renders them.

    Args:
        voice: name of a voice, such as ``voice`` or ``body``.
        count: sounds in a batch.
        device: where to.
    """
    import torch

    from soundalike.core.compile import CompilationError
    from soundalike.core.memory import keep_freed_memory
    from soundalike.synth import VOICES

    keep_freed_memory()
    synthesizer = VOICES[voice]().to(device)
    not_compiled = [synthesizer]
    generator = torch.Generator(device).manual_seed(0)
    noise_seeds = torch.arange(count, device=device)

    def render() -> Tensor:
        if not_compiled:  # in the first call, which is timed apart
            with contextlib.suppress(CompilationError):
                not_compiled.pop().compile_rendering(count)
        with torch.inference_mode():
            noise_seeds.add_(count)
            sounds: Tensor = synthesizer(synthesizer.draw(count, generator=generator), noise_seed=noise_seeds)
        return sounds

    return render


def against_synthax(name: str, voice: str, target: float) -> Row:
    """A voice and SynthAX's, in turn."""
    rounds = alternate(ours(voice), in_own_process(synthax_voices.renderer, voice, COUNT), calls=4)
    return rounds.row(name, UNIT, COUNT, target=target, note="against SynthAX 0.2.2, jitted and waited for")


def against_torchsynth() -> Row:
    """Voice and torchsynth's, in turn; ours alone where torchsynth does not load."""
    name, target = "Voice against torchsynth", 10.0
    try:
        theirs, note = in_own_process(torchsynth_voice.renderer, COUNT), torchsynth_voice.STAND_INS
    except Exception as error:  # an old package fails in many ways, and every one of them is this row's result
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return alternate(ours("voice")).row(name, UNIT, COUNT, target=target, note=f"no torchsynth 1.0.2 ({reason})")
    return alternate(ours("voice"), theirs, calls=4).row(name, UNIT, COUNT, target=target, note=note)


def alone(name: str, voice: str, target: float) -> Row:
    """A voice that nobody else has."""
    return alternate(ours(voice)).row(name, UNIT, COUNT, target=target, bound="ours >=")


ROWS: dict[str, Callable[[], Row]] = {
    "Voice": partial(against_synthax, "Voice", "voice", 10.0),
    "VoiceFM": partial(against_synthax, "VoiceFM", "voice-fm", 20.0),
    "Parametric": partial(against_synthax, "Parametric", "parametric", 20.0),
    "Voice against torchsynth": against_torchsynth,
    "Mouth": partial(alone, "Mouth", "mouth", 3_000.0),
    "Body": partial(alone, "Body", "body", 3_000.0),
    "Texture": partial(alone, "Texture", "texture", 3_000.0),
}
