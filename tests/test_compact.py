"""The compact embedding: principal components fitted to synthetic sounds, in a model and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors import safe_open

from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.model.compact import Compact
from soundalike.model.file import write
from soundalike.model.fit_compact import synthetic_sounds, with_compact
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

SIZE = 12


def correlated(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Vectors whose numbers depend on each other and have very different means and scales."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((count, width)) @ rng.standard_normal((width, width))
    return (mixed * 10.0 ** rng.uniform(-3, 3, width) + 10 * rng.standard_normal(width)).astype(np.float32)


@pytest.fixture(scope="module")
def model(run: Path) -> SoundModel:
    """The tiny model with a compact embedding."""
    return with_compact(SoundModel.load(run), SIZE, sounds=40)


@pytest.fixture
def sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(-1, 1, samples).astype(np.float32) for samples in (4000, 4000, 9000, 30)]


@pytest.mark.parametrize("count", [15, 60])  # fewer rows than numbers, and more: two ways to the same components
@pytest.mark.parametrize(("blocks", "weights"), [(None, None), ([4, 1, 15], None), ([4, 1, 15], [0.5, 3.0, 2.0])])
def test_fit_against_a_singular_value_decomposition(
    count: int, blocks: list[int] | None, weights: list[float] | None
) -> None:
    vectors = correlated(count, 20)
    wide = vectors.astype(np.float64)
    weighted = (wide - wide.mean(0)) / wide.std(0)
    start = 0
    factors = weights or [1.0] * len(blocks or [20])
    for length, factor in zip(blocks or [20], factors, strict=True):
        weighted[:, start : start + length] *= factor / np.sqrt(length)
        start += length
    assert np.isclose(
        np.square(weighted).mean(0).sum(), np.square(factors).sum()
    )  # a block's variance is its weight's
    _, sizes, directions = np.linalg.svd(weighted, full_matrices=False)
    expected = weighted @ directions[:6].T / (sizes[:6] / np.sqrt(count)) ** 0.5
    compact = Compact.fit(vectors, 6, blocks, weights)
    assert np.allclose(np.abs(compact(vectors)), np.abs(expected), atol=1e-3)
    largest = np.take_along_axis(compact.components, np.abs(compact.components).argmax(1)[:, None], 1)
    assert (largest > 0).all()


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.integers(3, 30), st.integers(1, 20), st.integers(0, 1000))
def test_components_are_orthogonal_and_nested(count: int, width: int, seed: int) -> None:
    vectors = correlated(count, width, seed)
    size = min(count - 1, width)
    compact = Compact.fit(vectors, size)
    unit = compact.components / np.linalg.norm(compact.components, axis=1, keepdims=True)
    assert np.allclose(unit @ unit.T, np.eye(size), atol=1e-3)
    spread = compact(vectors).var(0)
    assert (np.diff(spread) <= 1e-3 * spread[0]).all()  # the one that varies most first
    fewer = max(1, size // 2)
    assert np.allclose(compact.first(fewer)(vectors), compact(vectors)[:, :fewer], atol=1e-4)
    assert (
        np.allclose(compact.first(fewer).components, Compact.fit(vectors, fewer).components, atol=1e-2) or width == 1
    )


def test_signs_hold_where_weights_are_as_large_as_each_other() -> None:
    vectors = correlated(3, 2, 2)  # two standardised numbers: components are (1, 1) and (1, -1)
    assert np.allclose(Compact.fit(vectors, 1).components, Compact.fit(vectors, 2).components[:1], atol=1e-3)


def test_all_components_keep_every_distance() -> None:
    vectors = correlated(50, 10)
    scaled = vectors / vectors.std(0) / np.sqrt(10)
    compact = Compact.fit(vectors, 10)(vectors)
    compact *= compact.std(0)  # its standard deviations are roots of those of the components
    one, other = scaled[:25] - scaled[25:], compact[:25] - compact[25:]
    assert np.allclose(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1), rtol=1e-3)


def test_blocks_that_are_not_those_of_the_embedding() -> None:
    with pytest.raises(ValueError, match="blocks of 9 numbers, of an embedding of 10"):
        Compact.fit(correlated(30, 10), 4, [4, 5])


@pytest.mark.parametrize("settings", [{}, {"readout": "pooled"}, {"features": True, "quarter_tones": True}])
def test_the_blocks_of_every_read_out(tiny: Recipe, settings: dict[str, Any]) -> None:
    model = SoundModel(tiny.override(settings))
    blocks = model.readout.blocks(model.frontend, model.encoder)
    assert sum(blocks) == model.size == len(model.embed(np.zeros(8000)))
    assert len(blocks) == {"pooled": 1}.get(settings.get("readout", ""), 7 if settings else 5)


def test_numbers_that_never_change_have_no_part() -> None:
    vectors = correlated(50, 10)
    vectors[:, 3] = 0.1
    compact = Compact.fit(vectors, 9)
    assert compact.scale[3] == 0
    changed = vectors.copy()
    changed[:, 3] = 1e6
    assert np.array_equal(compact(vectors), compact(changed))
    with pytest.raises(SoundalikeError, match="only 9 numbers of these embeddings change"):
        Compact.fit(vectors, 10)


@pytest.mark.parametrize(
    ("count", "width", "size"), [(10, 20, 10), (30, 20, 21), (30, 20, 0), (30, 20, -1), (1, 5, 1)]
)
def test_sizes_that_cannot_be_fitted(count: int, width: int, size: int) -> None:
    with pytest.raises(SoundalikeError, match=rf"size is {size}: {count} sounds with embeddings of {width} numbers"):
        Compact.fit(np.ones((count, width), np.float32), size)


def test_embeddings_that_are_not_finite() -> None:
    vectors = correlated(10, 5)
    vectors[4, 2] = np.nan
    with pytest.raises(SoundalikeError, match="not finite"):
        Compact.fit(vectors, 2)


def test_the_model_embeds_compactly_everywhere(model: SoundModel, sounds: list[np.ndarray]) -> None:
    assert model.compact is not None
    full, compact = model(sounds), model.compacted(SIZE)
    assert compact.size == SIZE
    assert model.size == full.shape[1] > SIZE
    assert np.allclose(compact(sounds), model.compact(full), atol=1e-4)
    assert np.array_equal(compact.embed(sounds), compact(sounds))
    assert np.array_equal(compact.embed(sounds[0]), compact(sounds[:1])[0])
    assert compact.embed([]).shape == (0, SIZE)
    assert compact.windows(sounds[2], every=0.2, seconds=0.3)[1].shape == (3, SIZE)
    assert np.allclose(model.compacted(5)(sounds), compact(sounds)[:, :5], atol=1e-5)
    assert np.array_equal(compact.full()(sounds), full)
    assert np.array_equal(model(sounds), full)  # it has stayed as it was
    assert compact.untrained().size == model.size  # the baseline is not made compact


def test_it_is_fitted_to_the_model_s_own_sounds(model: SoundModel) -> None:
    again = with_compact(model.compacted(3), SIZE, sounds=40)  # from the full embedding, whatever it is asked of
    other = with_compact(model, SIZE, sounds=40, seed=1)
    assert model.compact is not None
    assert again.compact is not None
    assert other.compact is not None
    assert np.array_equal(again.compact.components, model.compact.components)
    assert not np.allclose(other.compact.mean, model.compact.mean)
    assert model.compact.made == {"recipe": model.recipe.name, "sounds": 40, "seed": 0}
    heard = np.concatenate(list(synthetic_sounds(model.recipe, 40)))
    assert np.allclose(model.compact.mean, model(list(heard)).mean(0), atol=1e-5)
    assert len(np.unique(heard, axis=0)) == 40


@pytest.mark.parametrize("half", [False, True])
def test_saved_and_loaded_it_gives_the_same_vectors(
    model: SoundModel, sounds: list[np.ndarray], tmp_path: Path, half: bool
) -> None:
    model.compacted(3).save(tmp_path / "model.safetensors", half=half)
    loaded = SoundModel.load(tmp_path / "model.safetensors")
    assert loaded.size == 3  # what it gave is what it gives again
    assert loaded.full().size == model.size  # both embeddings are there
    assert loaded.compact is not None
    assert loaded.compact.made == {"recipe": model.recipe.name, "sounds": 40, "seed": 0}
    before, after = model.compacted(SIZE)(sounds), loaded.compacted(SIZE)(sounds)
    if half:
        assert np.linalg.norm(after - before) < 0.02 * np.linalg.norm(before)
        with safe_open(tmp_path / "model.safetensors", "np") as file:
            assert file.get_tensor("compact.components").dtype == np.float16
            assert file.get_tensor("compact.scale").dtype == np.float32
    else:
        assert np.array_equal(after, before)


def test_the_embedding_that_a_file_gives(model: SoundModel, sounds: list[np.ndarray], tmp_path: Path) -> None:
    model.save(tmp_path / "full.safetensors")
    assert SoundModel.load(tmp_path / "full.safetensors").size == model.size
    model.compacted(5).save(tmp_path / "five.safetensors")
    five = SoundModel.load(tmp_path / "five.safetensors")
    assert np.array_equal(five(sounds), model.compacted(5)(sounds))
    assert np.array_equal(five.full()(sounds), model(sounds))
    assert five.compacted(4).size == 4
    five.full().save(tmp_path / "again.safetensors")
    assert SoundModel.load(tmp_path / "again.safetensors").size == model.size


@pytest.mark.parametrize("size", ["0", "99999", "many", "-1"])
def test_an_embedding_that_a_file_cannot_give(model: SoundModel, tmp_path: Path, size: str) -> None:
    whole = tmp_path / "model.safetensors"
    model.compacted(5).save(whole)
    with safe_open(whole, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {**file.metadata(), "embedding": size}
    write(whole, tensors, {name: text for name, text in header.items() if name != "checksum"})
    with pytest.raises(SoundalikeError, match="not a model that this version can load"):
        SoundModel.load(whole)


def test_a_model_without_it_says_what_to_do(run: Path) -> None:
    model = SoundModel.load(run)
    assert model.compact is None
    with pytest.raises(SoundalikeError, match="has no compact embedding: soundalike compact MODEL --out FILE"):
        model.compacted()


@pytest.mark.parametrize("size", [0, -1, SIZE + 1, 512])
def test_sizes_that_the_model_does_not_have(model: SoundModel, size: int) -> None:
    with pytest.raises(SoundalikeError, match=rf"a compact embedding of {size} numbers: this model has 1 to {SIZE}"):
        model.compacted(size)


def test_a_compact_embedding_of_another_model(model: SoundModel) -> None:
    other = Compact.fit(correlated(30, 20), 4)
    with pytest.raises(SoundalikeError, match=rf"of 20 numbers, and its embedding has {model.size}"):
        SoundModel(model.recipe, compact=other)


def test_a_damaged_one_is_said_of_the_file(model: SoundModel, tmp_path: Path) -> None:
    damaged = with_compact(model, 4, sounds=8)
    assert damaged.compact is not None
    damaged.compact.scale[0] = np.nan
    damaged.save(tmp_path / "model.safetensors")
    with pytest.raises(
        SoundalikeError,
        match=r"not a model that this version can load .the tensor .compact.scale. holds numbers that are not finite",
    ):
        SoundModel.load(tmp_path / "model.safetensors")


def test_without_a_synthesizer(tiny: Recipe) -> None:
    with pytest.raises(SoundalikeError, match="has no synthesizer, and a compact embedding is fitted to synthetic"):
        with_compact(SoundModel(tiny.override({"views": "recordings"})), 4, sounds=8)


def test_mixed_views_draw_from_the_synthesizer(tiny: Recipe) -> None:
    units = {"views.uniform_in": "units"}
    mixed = tiny.override({"views": "mixed", "views.synthetic": {"uniform_in": "units"}})
    one, other = (next(synthetic_sounds(recipe, 4)) for recipe in (tiny.override(units), mixed))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, next(synthetic_sounds(tiny, 4)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--size 0", "size is 0: this model's embedding has"),
        ("--size 100000", "size is 100000: this model's embedding has"),
        ("--sounds 8 --size 8", "sounds is 8: 8 components need more sounds"),
        ("--size many", "'many' is not a whole number"),
        ("--seed -1", "-1 is not from 0 to"),
    ],
)
def test_mistakes_of_the_command(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, said: str
) -> None:
    assert main(["compact", str(run), "--out", str(tmp_path / "c.safetensors"), *options.split()]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "c.safetensors").exists()


def test_the_command_writes_a_model_that_evaluate_scores(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "c.safetensors"
    assert main(["compact", str(run), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main(["compact", str(run), "--out", str(out), "--size", "8", "--sounds", "40", "--half"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: ")
    assert "sounds/s" in said.err
    rng = np.random.default_rng(0)
    for label, cutoff in (("bright", 1), ("dull", 8)):
        for number in range(6):
            noise = np.repeat(rng.uniform(-0.5, 0.5, 4800 // cutoff), cutoff)
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "data" / label / f"{number}.wav", noise, 16_000)
    embed = ["embed", str(tmp_path / "data"), "--model", str(out), "--out", str(tmp_path / "e.npz"), "--compact"]
    assert main(embed) == 2
    assert "a compact embedding of 512 numbers: this model has 1 to 8" in capsys.readouterr().err
    assert main([*embed, "6"]) == 0
    with np.load(tmp_path / "e.npz") as written:
        assert written["embedding"].shape == (12, 6)
        assert np.allclose(
            written["embedding"], SoundModel.load(out).compacted(6).embed(list(written["path"])), atol=1e-4
        )
    assert main(["compact", str(run), "--out", str(out), "--size", "8", "--sounds", "40", "--embedding", "5"]) == 0
    for options, size in (([], 5), (["--full"], SoundModel.load(run).size), (["--compact", "7"], 7)):
        assert main([*embed[:-1], *options, "--out", str(tmp_path / f"{size}.npz")]) == 0
        with np.load(tmp_path / f"{size}.npz") as written:
            assert written["embedding"].shape == (12, size)
    evaluate = ["evaluate", str(out), "--task", "folder", "--data", str(tmp_path / "data"), "--probe", "knn"]
    assert main([*evaluate, "--compact", "9"]) == 2
    assert "a compact embedding of 9 numbers: this model has 1 to 8" in capsys.readouterr().err
    assert main([*evaluate, "--full"]) == 0
    assert f"full, {SoundModel.load(run).size} numbers" in capsys.readouterr().out
    assert main([*evaluate, "--compact", "8"]) == 0
    table = capsys.readouterr().out
    assert "compact, 8 numbers" in table
    assert table.index("model") < table.index("compact, 8") < table.index("untrained encoder")
