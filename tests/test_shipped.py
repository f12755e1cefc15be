"""The model that ships: there, whole, small, described, and better than its baselines."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import soundalike
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.eval.probe import score, with_baselines
from soundalike.model import shipped as models
from soundalike.model.embed_files import embed_files

ROOT = Path(__file__).parents[1]
DATA = os.environ.get("SOUNDALIKE_DATA")


@pytest.mark.parametrize("shipped", models.SHIPPED, ids=lambda shipped: shipped.name)
def test_the_file_is_the_one_of_the_card(shipped: models.Shipped) -> None:
    assert shipped.whole()
    assert shipped.size <= 25e6
    card = (ROOT / "docs" / "models" / f"{shipped.name}.md").read_text(encoding="utf-8")
    assert shipped.sha256 in card
    model = soundalike.load(shipped.path)
    assert f"{model.training['pairs']}" in card
    assert f"{model.size:,}" in card


def test_without_a_name_it_is_the_default_and_heard_no_recording() -> None:
    model, named = soundalike.load(), soundalike.load(models.DEFAULT)
    assert model.recipe.sections["views"]["name"] == "families"
    assert "recordings" not in model.recipe.sections
    assert len(model.heard) == 0
    assert model.training["pairs"] >= 100_000
    assert model.size == 512  # the compact embedding
    assert model.full().size > 2000
    sound = np.sin(np.arange(16_000) * 0.1).astype(np.float32)
    assert np.array_equal(model.embed(sound), named.embed(sound))


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert models.find("ears") == models.shipped("ears").path
    assert models.find(None) == models.shipped().path
    (tmp_path / "ears").mkdir()
    assert models.find("ears") == Path("ears")
    with pytest.raises(SoundalikeError, match="did you mean 'ears'"):
        models.shipped("eers")
    with pytest.raises(SoundalikeError, match=r"eers: no such model file"):
        soundalike.load("eers")


def test_the_command_lists_and_checks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["models", "--check"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ears (the default): ")
    assert f"sha256  {models.shipped().sha256} (as it should be)" in out
    monkeypatch.setattr(models, "SHIPPED", (models.Shipped("ears", "another", "0" * 64),))
    assert main(["models", "--check"]) == 1
    assert "damaged" in capsys.readouterr().out
    monkeypatch.setattr(models, "SHIPPED", (models.Shipped("lost", "no file", "0" * 64),))
    assert main(["models"]) == 1
    assert "missing" in capsys.readouterr().out


@pytest.mark.skipif(DATA is None, reason="SOUNDALIKE_DATA names no folder of recordings")
def test_it_is_better_than_both_baselines_at_recordings_of_words() -> None:
    dataset = datasets.read("manifest", Path(str(DATA)) / "dev" / "words3" / "clips.csv")
    embedded = embed_files(dataset.paths, with_baselines({"model": soundalike.load()}))
    model, *baselines = (
        score(vectors, dataset.select(embedded.rows), ["knn"]).probes["knn"].mean
        for vectors in embedded.vectors.values()
    )
    assert model > max(baselines) + 0.1
