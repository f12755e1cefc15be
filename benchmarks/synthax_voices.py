"""SynthAX's synthesizers, called as its documentation shows: what rendering and the step are compared with."""

# mypy: disable-error-code="import-not-found,import-untyped"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

SAMPLE_RATE, SECONDS, CONTROL_RATE = 16_000, 1.0, 480
LOWEST_KNOB = 1e-6


def synthesizer(voice: str, count: int) -> Any:
    """The SynthAX synthesizer that ``voice``, ``voice-fm`` or ``parametric`` corresponds to, for ``count`` sounds."""
    from synthax.config import SynthConfig
    from synthax.synth import ParametricSynth, Voice, VoiceExpanded

    config = SynthConfig(
        batch_size=count, sample_rate=SAMPLE_RATE, buffer_size_seconds=SECONDS, control_rate=CONTROL_RATE
    )
    if voice == "parametric":
        return ParametricSynth(config=config, sine=2, square_saw=2, fm_sine=1, fm_square_saw=1)
    return {"voice": Voice, "voice-fm": VoiceExpanded}[voice](config=config)


def renderer(voice: str, count: int) -> Callable[[], Any]:
    """A function that draws patches, renders them and waits for the sounds.

    Drawing and rendering are one compiled program, which leaves the compiler the most freedom.
    """
    import jax

    synth = synthesizer(voice, count)
    render = jax.jit(lambda key: synth.apply(synth.init(key)))
    keys = _keys()
    return lambda: jax.block_until_ready(render(next(keys)))


def pair_renderer(voice: str, count: int, delta: float) -> Callable[[], tuple[Any, Any]]:
    """A function that draws patches, nudges every knob of them twice, renders both, and waits.

    Returns:
        A function that gives two arrays (count, samples).
    """
    import jax
    import jax.numpy as jnp

    synth = synthesizer(voice, count)

    def nudged(patches: Any, key: Any) -> Any:
        leaves, structure = jax.tree_util.tree_flatten(patches)
        keys = jax.random.split(key, len(leaves))
        moved = [
            jnp.clip(leaf + delta * jax.random.normal(own, leaf.shape), LOWEST_KNOB, 1.0)
            for leaf, own in zip(leaves, keys, strict=True)
        ]
        return jax.tree_util.tree_unflatten(structure, moved)

    @jax.jit
    def render(key: Any) -> tuple[Any, Any]:
        drawing, first, second = jax.random.split(key, 3)
        patches = synth.init(drawing)
        return synth.apply(nudged(patches, first)), synth.apply(nudged(patches, second))

    keys = _keys()
    return lambda: jax.block_until_ready(render(next(keys)))


def _keys() -> Any:
    """New randomness for every call."""
    import jax

    key = jax.random.PRNGKey(0)
    while True:
        key, own = jax.random.split(key)
        yield own
