from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks are run from the checkout, not installed

from benchmarks import development  # noqa: E402
from benchmarks.development import __main__ as command  # noqa: E402
from benchmarks.development.sets import open_sets  # noqa: E402
from benchmarks.development.vectors import Embeddings, VectorCache  # noqa: E402

from recorded_clips import PITCHES, RATE, tone  # noqa: E402
from soundalike.core.errors import SoundalikeError  # noqa: E402
from soundalike.eval.probe import LogMelStatistics  # noqa: E402
from soundalike.model.fit_compact import with_compact  # noqa: E402
from soundalike.model.model import SoundModel  # noqa: E402
from soundalike.model.recipe import Recipe  # noqa: E402

SOUNDS = 24  # more than the size of a compact embedding has to be given
LABELS = list(PITCHES)


def write_set(folder: Path, takes: int = 6, first: int = 0) -> Path:
    """Tones of every pitch with a table; two takes that follow each other are one group."""
    lines = ["path,label,group"]
    for number, (label, hertz) in enumerate(PITCHES.items()):
        (folder / label).mkdir(parents=True)
        for take in range(takes):
            sound = tone(hertz, (0.4, 0.3)[take % 2], first + 100 * number + take)
            soundfile.write(folder / label / f"{take}.wav", sound, RATE)
            lines.append(f"{label}/{take}.wav,{label},{label}-{take // 2}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two sets. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("development")
    write_set(folder / "first")
    write_set(folder / "second", takes=8, first=1000)
    (folder / "README.md").write_text("no set\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tiny: Recipe) -> SoundModel:
    """An untrained model whose full embedding is short: two numbers for each channel of five stages."""
    return SoundModel(tiny.override({"readout.bands": 1}))


@pytest.fixture(scope="module")
def compact(model: SoundModel) -> SoundModel:
    return with_compact(model, 16, SOUNDS)


def test_the_command_prints_a_table_for_each_model_and_writes_all_rows(
    data: Path, compact: SoundModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compact.save(tmp_path / "model.safetensors")
    out = tmp_path / "readings.csv"
    arguments = [str(tmp_path / "model.safetensors"), "log-mel", "--data", str(data), "--out", str(out)]
    assert command.main([*arguments, "--folds", "2"]) == 0
    said = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if line]
    assert {len(cells) for cells in lines} == {4}
    assert lines[0] == [f"{arguments[0]}, %", "first", "second", "mean"]
    assert [cells[0] for cells in lines[2:8]] == [
        f"{embedding}, {numbers} numbers, {probe}"
        for embedding, numbers in (
            ("full", compact.size),
            ("compact", 16),
            ("last stage", 2 * compact.encoder.widths[-1]),
        )
        for probe in ("linear probe", "neighbours")
    ]
    assert [cells[0] for cells in lines[8:]] == [
        "log-mel, %",
        "---",
        "full, 192 numbers, linear probe",
        "full, 192 numbers, neighbours",
    ]
    for cells in (*lines[2:8], *lines[10:]):
        first, second, mean = map(float, cells[1:])
        assert mean == pytest.approx((first + second) / 2, abs=0.11)
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == (6 + 2) * 3
    assert {row["clips"] for row in rows if row["set"] == "second"} == {"24"}
    # chance is a third: the three pitches are more than an octave apart
    assert all(float(row["accuracy"]) > 80 for row in rows if row["model"] == "log-mel")


def test_random_weights_are_named_by_their_recipe(
    data: Path, model: SoundModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(model.recipe.to_yaml(), encoding="utf-8")
    arguments = [f"untrained:{recipe}", "--data", str(data), "--folds", "2", "--embeddings", "last stage"]
    assert command.main([*arguments, "--cache", str(tmp_path / "kept")]) == 0
    first = capsys.readouterr().out
    assert first.count("last stage") == 2
    assert len(list((tmp_path / "kept").iterdir())) == 2  # a file for each set
    assert command.main([*arguments, "--cache", str(tmp_path / "kept")]) == 0
    assert capsys.readouterr().out == first


def test_random_weights_of_a_model_file_are_those_that_its_recipe_begins_with(
    data: Path, model: SoundModel, tmp_path: Path
) -> None:
    model.untrained(1).save(tmp_path / "model.safetensors")
    loaded = command.load(f"untrained:{tmp_path / 'model.safetensors'}")
    (part, _) = open_sets(data, RATE)
    sound = [part.recordings.read(0)]
    np.testing.assert_array_equal(loaded(sound), model(sound))


def test_a_model_in_memory_is_scored_on_folds_that_keep_groups_together(data: Path, model: SoundModel) -> None:
    rows = development.read(model, data, name="mine", embeddings=["full"], folds=2)
    assert [(row.probe, row.set) for row in rows] == [
        (probe, name) for probe in ("linear", "knn") for name in ("first", "second", development.MEAN)
    ]
    assert all(row.model == "mine" and 0 <= row.accuracy <= 100 for row in rows)
    assert [row.clips for row in rows[:3]] == [18, 24, 42]
    assert [row.deviation is None for row in rows[:3]] == [False, False, True]
    for part in open_sets(data, RATE, folds=3):
        clips = part.dataset.clips
        assert len({(clip.group, clip.fold) for clip in clips}) == len({clip.group for clip in clips})
        assert len({(clip.fold, clip.label) for clip in clips}) == 3 * len(LABELS)


def test_files_of_identical_contents_lie_in_one_fold(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    copies = [("low", "low/0.wav", "low/4.wav"), ("mid", "mid/0.wav", "mid/4.wav")]
    for _, source, copy in copies:
        shutil.copyfile(folder / source, folder / copy)
    (part,) = open_sets(tmp_path, RATE, folds=2)
    fold = {clip.path.relative_to(folder).as_posix(): clip.fold for clip in part.dataset.clips}
    assert all(fold[source] == fold[copy] for _, source, copy in copies)


def test_embeddings_are_the_model_s_own_in_the_order_of_the_clips(data: Path, compact: SoundModel) -> None:
    (part, _) = open_sets(data, RATE)
    found = Embeddings(compact.compacted(16))(part)
    waveforms = [part.recordings.read(clip) for clip in range(len(part.recordings))]
    expected = np.concatenate([compact([waveform]) for waveform in waveforms])
    np.testing.assert_allclose(found["full"], expected, atol=1e-4)
    np.testing.assert_allclose(found["compact"], compact.compact(found["full"]), atol=1e-5)
    stages = compact.readout.blocks(compact.frontend, compact.encoder)
    np.testing.assert_array_equal(found["last stage"], found["full"][:, sum(stages[:-1]) :])


def test_a_compact_embedding_is_fitted_as_the_product_does_where_a_model_has_none(data: Path, tiny: Recipe) -> None:
    model = SoundModel(tiny.override({"readout": "pooled"}))  # 16 numbers
    (part, _) = open_sets(data, RATE)
    found = Embeddings(model, sounds=SOUNDS)(part)
    fitted = with_compact(model, 16, SOUNDS)
    np.testing.assert_allclose(found["compact"], fitted.compact(found["full"]), atol=1e-4)
    # the last stage is read whatever the model's read-out is
    assert found["full"].shape == (18, 16)
    assert found["last stage"].shape == (18, 2 * 2 * model.encoder.widths[-1])  # mean and deviation of two bands


def test_a_model_of_recordings_and_the_baseline_have_no_compact_embedding(data: Path, tiny: Recipe) -> None:
    recorded = SoundModel(tiny.override({"views": "recordings"}))
    assert Embeddings(recorded).names == ["full", "last stage"]
    assert Embeddings(LogMelStatistics()).names == ["full"]


def test_kept_embeddings_are_found_by_what_the_model_makes_of_sound(
    data: Path, model: SoundModel, tmp_path: Path
) -> None:
    cache = VectorCache(tmp_path)
    (part, other) = open_sets(data, RATE)
    wanted = ["full", "last stage"]
    first = Embeddings(model, wanted, cache=cache)(part)
    (file,) = tmp_path.iterdir()
    np.savez(file, **{name: values + 1 for name, values in first.items()})  # to tell kept from computed
    kept = Embeddings(model, wanted, cache=cache)
    np.testing.assert_array_equal(kept(part)["full"], first["full"] + 1)
    np.testing.assert_array_equal(kept(other)["full"], Embeddings(model, wanted)(other)["full"])
    retrained = Embeddings(model.untrained(1), wanted, cache=cache)(part)
    assert not np.allclose(retrained["full"], first["full"] + 1)
    assert len(list(tmp_path.iterdir())) == 3


def broken_sets(folder: Path) -> Iterator[tuple[str, Path]]:
    """Sentences that say what is wrong with sets, and folders that hold such sets."""
    (folder / "empty").mkdir()
    yield "no development set", folder / "empty"
    (write_set(folder / "missing" / "set") / "low" / "0.wav").unlink()
    yield "1 of its clips are missing", folder / "missing"
    (write_set(folder / "broken" / "set") / "low" / "0.wav").write_bytes(b"no sound")
    yield "cannot be decoded", folder / "broken"


def test_a_set_that_is_not_whole_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sentence, folder in broken_sets(tmp_path):
        assert command.main(["log-mel", "--data", str(folder)]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert len(said.splitlines()) == 1


def test_what_cannot_be_read_is_refused(
    data: Path, model: SoundModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SoundalikeError, match="9 folds cannot be made"):
        development.read(model, data, folds=9, embeddings=["full"])
    with pytest.raises(SoundalikeError, match="unknown embedding 'first stage'"):
        development.read(model, data, embeddings=["first stage"])
    assert command.main(["untrained:nothing", "--data", str(data)]) == 2
    assert "unknown recipe 'nothing'" in capsys.readouterr().err
    monkeypatch.delenv("SOUNDALIKE_DATA", raising=False)
    assert command.main(["log-mel"]) == 2
    assert "--data" in capsys.readouterr().err


def test_the_command_is_run_as_a_module_and_says_what_is_wrong_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.development", "nothing"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nothing: no such model file")
    assert len(done.stderr.splitlines()) == 1


def test_the_sets_are_found_through_the_variable(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dev").symlink_to(data)
    monkeypatch.setenv("SOUNDALIKE_DATA", str(tmp_path))
    assert [part.name for part in open_sets(None, RATE)] == ["first", "second"]
