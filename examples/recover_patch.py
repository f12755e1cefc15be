"""Recovers a sound's patch from its audio, by gradient descent from a patch nearby.

    python examples/recover_patch.py --out recovered

A random patch of Voice is the target; all that is known of it is its sound. The start is the same patch with every
knob nudged. The loss, a mean squared difference of log-mel spectrograms, is differentiated through the synthesizer.

As a function of pitch such a loss is full of valleys, so several walkers set out together around the start, and
from time to time the worse half of them goes on from where the better half is. Knobs that are not heard in a sound,
such as the release of a note that outlasts it, cannot be known from it: a weak pull keeps them at the start.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from soundalike.core.memory import keep_freed_memory
from soundalike.nn.frontend import LogMel
from soundalike.synth import Synthesizer, Voice

SPREAD = 0.01  # of the walkers around the start, in knob positions
PULL = 0.3  # towards the start
RESTART_EVERY = 40  # steps


class Recovery(NamedTuple):
    """What `recover` found."""

    patch: Tensor
    """(size,) knob positions."""
    curve: list[float]
    """The lowest loss of all walkers so far, one for each step."""


class Distance:
    """How far sounds are from a target: the mean squared difference of their log-mel spectrograms."""

    def __init__(self, target: Tensor, sample_rate: int) -> None:
        self.frontend = LogMel(sample_rate=sample_rate)
        self.target = self.frontend.whole(target[None])  # (1, 1, T, 64)

    def __call__(self, sound: Tensor) -> Tensor:
        """Sounds (n, samples) -> distances (n,)."""
        return (self.frontend.whole(sound) - self.target).square().mean((1, 2, 3))


def recover(
    voice: Synthesizer,
    distance: Distance,
    start: Tensor,
    noise: Tensor,
    steps: int = 300,
    walkers: int = 16,
    step_size: float = 2e-3,
    generator: torch.Generator | None = None,
) -> Recovery:
    """Gradient descent on the knobs.

    Args:
        voice: what renders.
        distance: from the target.
        start: knob positions to set out from, (size,).
        noise: the noise in the target, (samples,).
        steps: how many.
        walkers: how many go at once; the first sets out from the start itself.
        step_size: of Adam, in knob positions; it falls to 0 in a straight line.
        generator: where the walkers' randomness comes from.

    Returns:
        The patch with the lowest loss, and how the loss fell.
    """
    scatter = SPREAD * torch.randn(walkers, voice.size, generator=generator)
    scatter[0] = 0.0
    patch = (start + scatter).clamp(1e-6, 1.0).requires_grad_()  # (walkers, size)
    adam = torch.optim.Adam([patch], step_size)
    best, best_patch = torch.full((walkers,), torch.inf), patch.detach().clone()
    curve = []
    for step in range(steps):
        left = 1.0 - step / steps
        adam.param_groups[0]["lr"] = step_size * left
        loss = distance(voice(patch, noise=noise))  # (walkers,)
        pull = PULL * (patch - start).square().sum(1)
        (gradient,) = torch.autograd.grad((loss + pull).sum(), patch)
        # a direction for each walker: where pitch is modulated wildly, lengths vary by orders of magnitude
        patch.grad = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-9)
        with torch.no_grad():
            best_patch = torch.where((loss < best)[:, None], patch, best_patch)
            best = torch.minimum(loss, best)
            curve.append(best.min().item())
            adam.step()
            if step % RESTART_EVERY == RESTART_EVERY - 1 and walkers > 1 and left > 0.2:
                order = best.argsort()
                better, worse = order[: walkers // 2], order[-(walkers // 2) :]
                scatter = SPREAD * left * torch.randn(len(worse), voice.size, generator=generator)
                patch[worse] = best_patch[better] + scatter
                best[worse], best_patch[worse] = best[better], best_patch[better]
                for moment in ("exp_avg", "exp_avg_sq"):
                    adam.state[patch][moment][worse] = adam.state[patch][moment][better]
            patch.clamp_(1e-6, 1.0)
    return Recovery(best_patch[best.argmin()], curve)


def pitches(voice: Synthesizer, patch: Tensor) -> dict[str, float]:
    """The MIDI pitch of each oscillator before modulation: the keyboard's note plus its tuning."""
    unit = dict(zip((spec.name for spec in voice.specs), voice.to_units(patch).tolist(), strict=True))
    return {vco: unit["keyboard.midi_f0"] + unit[f"{vco}.tuning"] for vco in ("vco_1", "vco_2")}


def plot(sounds: dict[str, Tensor], sample_rate: int, curve: list[float], path: Path) -> None:
    """Spectrograms of the sounds side by side, and the loss below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic([[*sounds], ["loss"] * len(sounds)], height_ratios=(3, 2))
    window = torch.hann_window(1024)
    for name, sound in sounds.items():
        magnitude = torch.stft(sound, 1024, 128, window=window, return_complex=True).abs() * (2 / window.sum())
        image = axes[name].imshow(
            20 * torch.log10(magnitude + 1e-6),
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-80,
            vmax=0,
            extent=(0, len(sound) / sample_rate, 0, sample_rate / 2000),
        )
        axes[name].set(title=name, xlabel="time in s")
    axes[next(iter(sounds))].set_ylabel("frequency in kHz")
    figure.colorbar(image, ax=[axes[name] for name in sounds], label="dB", pad=0.01)
    axis = axes["loss"]
    axis.semilogy(range(len(curve)), curve, color="C3")
    axis.set(xlabel="step", ylabel="lowest loss so far", xlim=(0, max(1, len(curve) - 1)))
    axis.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Runs the example; returns the loss at the start and at the end."""
    import soundfile

    parser = argparse.ArgumentParser(description="Recovers a sound's patch from its audio by gradient descent.")
    parser.add_argument("--steps", type=int, default=300, help="steps of gradient descent (default: 300)")
    parser.add_argument("--walkers", type=int, default=16, help="patches that descend at once (default: 16)")
    parser.add_argument("--delta", type=float, default=0.02, help="how far every knob is nudged (default: 0.02)")
    parser.add_argument("--seed", type=int, default=7, help="which patch (default: 7)")
    parser.add_argument(
        "--out", type=Path, default=Path("recovered"), help="folder for the files (default: recovered)"
    )
    options = parser.parse_args(arguments)

    keep_freed_memory()
    generator = torch.Generator().manual_seed(options.seed)
    voice = Voice()
    target = voice.draw(1, generator=generator, uniform_in="knobs")[0]  # (size,)
    start = (target + options.delta * torch.randn(voice.size, generator=generator)).clamp(1e-6, 1.0)
    noise = 2 * torch.rand(voice.samples, generator=generator) - 1
    distance = Distance(voice(target, noise=noise), voice.sample_rate)

    result, curve = recover(voice, distance, start, noise, options.steps, options.walkers, generator=generator)

    patches = {"target": target, "start": start, "result": result}
    sounds = {name: voice(patch, noise=noise) for name, patch in patches.items()}
    losses = {name: distance(sound[None]).item() for name, sound in sounds.items()}
    print(f"{'':<32}{'start':>9}{'result':>9}")
    print(f"{'loss':<32}{losses['start']:>9.4f}{losses['result']:>9.4f}")
    wanted = pitches(voice, target)
    for vco, pitch in wanted.items():
        errors = [abs(pitches(voice, patch)[vco] - pitch) for patch in (start, result)]
        print(f"{f'pitch of {vco}, semitones off':<32}{errors[0]:>9.2f}{errors[1]:>9.2f}")
    for group in (None, *sorted({spec.group for spec in voice.specs})):
        mine = torch.tensor([group in (None, spec.group) for spec in voice.specs])
        errors = [float((patch - target)[mine].abs().mean()) for patch in (start, result)]
        print(f"{'mean knob error, ' + (group or 'all'):<32}{errors[0]:>9.4f}{errors[1]:>9.4f}")

    options.out.mkdir(parents=True, exist_ok=True)
    for name, sound in sounds.items():
        soundfile.write(options.out / f"{name}.wav", sound.numpy(), voice.sample_rate, subtype="PCM_16")
    plot(sounds, voice.sample_rate, curve, options.out / "recovery.png")
    print(f"{options.out / 'recovery.png'} shows target, start and result; the sounds are next to it.")
    return losses["start"], losses["result"]


if __name__ == "__main__":
    main()
