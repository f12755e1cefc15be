"""Searching an index by sound, the recordings in it that are the same, and both from the command line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from soundalike import Index, SoundModel
from soundalike.apps.search import duplicates, similarity
from soundalike.apps.search.duplicates import agreement
from soundalike.apps.search.index import fingerprint
from soundalike.audio import read
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model.recipe import Recipe

RATE = 16_000
DATA = Path(__file__).resolve().parent.parent / "data"
Cli = Callable[..., tuple[int, str, str]]


def sound(number: int, seconds: float = 0.6) -> np.ndarray:
    """A tone that glides and fades, with noise."""
    rng = np.random.default_rng(number)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(150, 3000) * (1 + rng.uniform(-0.5, 0.5) * time)
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-time * rng.uniform(0, 6))
    return (rng.uniform(0.2, 0.6) * (wave + rng.uniform(0, 0.5) * rng.normal(size=len(time)))).astype(np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few reference sounds."""
    monkeypatch.setattr(similarity, "REFERENCE", 8)


@pytest.fixture(scope="module")
def model(tiny: Recipe) -> SoundModel:
    """Random weights."""
    return SoundModel(tiny, tiny.build(3))


@pytest.fixture(scope="module")
def made(model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's file, ``sounds`` with 24 recordings and a broken one, and their index."""
    place = tmp_path_factory.mktemp("made")
    (place / "sounds" / "mehr töne").mkdir(parents=True)
    for number in range(24):
        name = f"mehr töne/{number:02}.wav" if number % 2 else f"{number:02}.wav"
        soundfile.write(place / "sounds" / name, sound(number), RATE, subtype="FLOAT")
    (place / "sounds" / "broken.wav").write_text("no sound")
    model.save(place / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "REFERENCE", 8)
        Index.update(place / "sounds", place / "index", model, place / "model.safetensors")
    return place


def test_a_sound_is_nearest_to_itself_and_the_order_is_that_of_the_cosine(made: Path, model: SoundModel) -> None:
    index = Index.load(made / "index")
    assert len(index) == 24
    assert [failure.path.name for failure in index.failures] == ["broken.wav"]
    query = made / "sounds" / "04.wav"
    found = index.search(query, 24)
    assert (found[0].path, found[0].identical) == (query, True)
    assert found[0].similarity == pytest.approx(1, abs=1e-4)
    assert not any(each.identical for each in found[1:])
    assert sorted(each.path for each in found) == sorted(index.paths)

    vectors = model.embed([str(path) for path in index.paths]).astype(np.float64)
    units = index._standardised(vectors.astype(np.float32)).astype(np.float64)
    expected = units @ units[index.paths.index(query)]
    assert [each.path for each in found] == [index.paths[row] for row in np.argsort(-expected)]
    np.testing.assert_allclose([each.similarity for each in found], np.sort(expected)[::-1], atol=5e-3)
    assert index.search(query, 3) == found[:3]


def test_a_query_can_be_a_waveform(made: Path) -> None:
    index = Index.load(made / "index")
    at_another_rate = soxr.resample(sound(7), RATE, 44_100)
    assert index.search(at_another_rate, 1, 44_100)[0].path.name == "07.wav"
    found = index.search(sound(7) * 0.5, 2)
    assert found[0].path.name == "07.wav"
    assert not found[0].identical
    with pytest.raises(SoundalikeError, match="count is 0"):
        index.search(sound(7), 0)
    with pytest.raises(SoundalikeError, match=r"has the shape \(3,\)"):
        index.nearest(np.zeros(3))
    with pytest.raises(AudioError, match=r"no such file|cannot be opened"):
        index.search(made / "nothing.wav")


def test_pieces_of_an_index_change_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Index.load(made / "index").search(made / "sounds" / "04.wav", 24)
    monkeypatch.setattr("soundalike.apps.search.store._AT_ONCE", 5 * Index.load(made / "index").store.size)
    pieces = Index.load(made / "index").search(made / "sounds" / "04.wav", 24)
    assert [each.path for each in pieces] == [each.path for each in whole]
    np.testing.assert_allclose([each.similarity for each in pieces], [each.similarity for each in whole], atol=1e-5)


def test_the_model_has_to_be_the_one_that_made_the_index(made: Path, model: SoundModel, tiny: Recipe) -> None:
    assert fingerprint(SoundModel.load(made / "model.safetensors")) == fingerprint(model)
    assert fingerprint(model.untrained(4)) != fingerprint(model)
    assert fingerprint(SoundModel(tiny.override({"readout.bands": 2}), model.recipe.build(3))) != fingerprint(model)
    with pytest.raises(SoundalikeError, match=r"was made with another model, then called .*model.safetensors"):
        Index.load(made / "index", model.untrained(4))


def test_a_folder_that_has_moved_still_has_its_names(made: Path, tmp_path: Path, model: SoundModel) -> None:
    shutil.copytree(made / "sounds", tmp_path / "sounds")
    Index.update(tmp_path / "sounds", tmp_path / "index", model)
    (tmp_path / "sounds").rename(tmp_path / "moved")
    index = Index.load(tmp_path / "index", model)
    found = index.search(tmp_path / "moved" / "mehr töne" / "05.wav", 1)[0]
    assert (found.path, found.identical) == (Path("mehr töne/05.wav"), True)
    with pytest.raises(SoundalikeError, match="the indexed folder is not there"):
        index.duplicates()
    assert index.duplicates(0.9999) == []
    with pytest.raises(SoundalikeError, match="does not say which model made it; give --model"):
        Index.load(tmp_path / "index").search(sound(1))


def altered(folder: Path) -> None:
    """Copies of recording 0 of a folder."""
    wave = sound(0, 1.0)
    soundfile.write(folder / "a0.wav", wave, RATE, subtype="FLOAT")
    shutil.copy(folder / "a0.wav", folder / "a1 copy.wav")
    soundfile.write(folder / "a2.mp3", wave, RATE)
    soundfile.write(folder / "a3.ogg", wave, RATE)
    soundfile.write(folder / "a4 quiet.wav", 0.2 * wave, RATE)
    soundfile.write(folder / "a5 rate.wav", soxr.resample(wave, RATE, 44_100), 44_100)
    soundfile.write(folder / "a6 inverted.wav", -wave, RATE)


def test_copies_of_a_recording_are_one_group(tmp_path: Path, model: SoundModel) -> None:
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", sound(20 + number), RATE, subtype="FLOAT")
    altered(tmp_path)
    index, _ = Index.update(tmp_path, tmp_path / "index", model)
    ((*group,),) = index.duplicates()
    assert [each.path.name[:2] for each in group] == ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]
    assert [each.identical for each in group] == [False, True, False, False, False, False, False]
    assert group[0].similarity == 1
    assert all(duplicates.CANDIDATE <= each.similarity <= 1 for each in group)
    ((*copies,),) = index.duplicates(1.0)  # what has the same contents, at any threshold
    assert [each.path.name for each in copies][:2] == ["a0.wav", "a1 copy.wav"]
    for path in tmp_path.glob("a*"):  # files that have gone since agree with none
        if path.name != "a1 copy.wav":
            path.unlink()
    assert [[each.path.name for each in group] for group in index.duplicates()] == [["a0.wav", "a1 copy.wav"]]


@pytest.mark.parametrize("names", [["a0.wav", "a2.mp3"], ["a0.wav", "z.wav"], ["a0.wav"]])
def test_tiny_indexes(tmp_path: Path, model: SoundModel, names: list[str]) -> None:
    """Two sounds standardised by themselves would be opposites, whatever they are."""
    altered(tmp_path)
    soundfile.write(tmp_path / "z.wav", sound(5), RATE)
    for path in tmp_path.glob("*"):
        if path.name not in names:
            path.unlink()
    index, _ = Index.update(tmp_path, tmp_path / "index", model)
    found = index.search(tmp_path / "a0.wav")
    assert [each.path.name for each in found] == names
    assert found[0].similarity == pytest.approx(1, abs=1e-4)
    expected = [names] if "a2.mp3" in names else []
    assert [[each.path.name for each in group] for group in index.duplicates()] == expected


def test_agreement_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    for lengths in ((30, 30), (17, 40), (40, 9), (1, 1)):
        a, b = (rng.normal(size=length) for length in lengths)
        if lengths == (17, 40):
            b[11:28] += 3 * a
        own, other = a - a.mean(), b - b.mean()
        best = 0.0
        for shift in range(-len(b) + 1, len(a)):
            x, y = own[max(shift, 0) : len(b) + shift], other[max(-shift, 0) : len(a) - shift]
            enough = (x @ x > own @ own / 4) and (y @ y > other @ other / 4)
            if len(x) >= min(lengths) / 2 and enough:
                best = max(best, abs(x @ y) / np.sqrt((x @ x) * (y @ y)))
        assert agreement(a, b) == pytest.approx(best, abs=1e-9)
        assert agreement(b, a) == pytest.approx(best, abs=1e-9)


def test_agreement_of_recordings() -> None:
    wave, silence = sound(1), np.zeros(9000)
    assert agreement(wave, -0.1 * np.concatenate((silence[:500], wave)) + 0.3) > 0.99
    assert agreement(wave, sound(2)) < 0.5
    assert agreement(wave, silence) == agreement(silence, silence) == 0


def test_candidates_against_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", 7)
    units = np.random.default_rng(0).normal(size=(20, 3))
    units = (units / np.linalg.norm(units, axis=1, keepdims=True)).astype(np.float16)
    alike = units.astype(np.float32) @ units.astype(np.float32).T
    every = {(a, b) for a in range(20) for b in range(20) if a != b and alike[a, b] >= 0.5}
    assert set(duplicates._candidates(units, 0.5)) == every
    nearest = {(a, b) for a, b in every if sum(alike[a, c] > alike[a, b] for c in range(20) if c != a) < 2}
    assert set(duplicates._candidates(units, 0.5, 2)) == nearest
    assert isinstance(duplicates._candidates(units, 0.5), Iterator)  # of many that are alike, too many to hold


def test_a_long_query_is_not_held_whole(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, query = Index.load(made / "index"), made / "sounds" / "mehr töne" / "03.wav"
    before = index.search(query, 5)
    monkeypatch.setattr(read, "LONG", 0.2)
    monkeypatch.setattr(read, "decode", lambda *_: pytest.fail("it was held"))
    after = index.search(query, 5)
    assert [each.path for each in after] == [each.path for each in before]
    assert after[0].identical


def test_vectors_beyond_sixteen_bits_and_beyond_all_bounds(made: Path) -> None:
    index = Index.load(made / "index")
    vector = np.zeros(index.store.size, np.float32)
    vector[0] = 1e9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite([each.similarity for each in index.nearest(vector)]).all()
    vector[0] = np.nan
    with pytest.raises(AudioError, match="is not finite"):
        index.nearest(vector)


def test_thresholds_outside_their_range(made: Path) -> None:
    for threshold in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(SoundalikeError, match="it must be above 0 and at most 1"):
            Index.load(made / "index").duplicates(threshold)


def test_search_from_the_command_line(made: Path, cli: Cli, tmp_path: Path) -> None:
    query = made / "sounds" / "mehr töne" / "03.wav"
    code, out, err = cli("search", query, "--index", made / "index", "--count", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == str(query)
    assert lines[1].split(maxsplit=2) == ["1", "1.000", f"{query}  (the query itself)"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]

    soundfile.write(tmp_path / "long.wav", np.concatenate([sound(5), sound(3), sound(9)]), RATE, subtype="FLOAT")
    piece = ("--from", 0.6, "--seconds", 0.6, "--count", 1)
    code, out, _ = cli("search", tmp_path / "long.wav", "--index", made / "index", *piece)
    assert (code, out.splitlines()[1].endswith("03.wav")) == (0, True)

    broken = made / "sounds" / "broken.wav"
    for suffix in ("csv", "jsonl"):
        table = tmp_path / "new" / f"found.{suffix}"
        code, out, err = cli("search", query, broken, query, "--index", made / "index", "--out", table)
        assert (code, out) == (1, f"{table}: 20 rows\n")
        assert err.startswith(f"left out: {broken}: not readable as audio")
        with table.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream)) if suffix == "csv" else [json.loads(line) for line in stream]
        assert [str(row["rank"]) for row in rows] == [str(n) for n in range(1, 11)] * 2
        assert (rows[0]["query"], rows[0]["path"], str(rows[0]["identical"])) == (str(query), str(query), "True")


def test_what_search_refuses(made: Path, cli: Cli, tmp_path: Path) -> None:
    query, index = made / "sounds" / "00.wav", made / "index"
    (tmp_path / "text").write_text("hello")
    for arguments, said in (
        ((query, "--index", tmp_path / "none"), "no such index; make one with soundalike index FOLDER"),
        ((query, "--index", tmp_path / "text"), "not an index, or cut short; give the file"),
        ((query, "--index", tmp_path), "is a folder, not an index"),
        ((query, "--index", made / "model.safetensors"), "not an index; give the file"),
        (("--index", index), "give an audio file to search for, or --duplicates."),
        ((query, "--index", index, "--count", 0), "--count is 0"),
        ((query, "--index", index, "--from", -1), "--from is -1"),
        ((query, "--index", index, "--from", 99), "00.wav: is 0.6 s long and ends before --from 99."),
        ((query, "--index", index, "--seconds", "nan"), "--seconds is nan"),
        ((query, "--index", index, "--threshold", 0.5), "--threshold is for --duplicates"),
        ((query, "--index", index, "--duplicates"), "leave out "),
        (("--count", 3, "--index", index, "--duplicates"), "leave out --count"),
        ((query, "--index", index, "--out", tmp_path / "a.txt"), ".npz or .parquet, not '.txt'"),
        ((made / "sounds" / "broken.wav", "--index", index), "not readable as audio"),
        ((tmp_path / "missing.wav", "--index", index), "missing.wav"),
    ):
        code, out, err = cli("search", *arguments)
        assert (code, out) == (2, ""), arguments
        assert said in err
        assert err.count("\n") == 1


def test_index_from_the_command_line(made: Path, cli: Cli, tmp_path: Path) -> None:
    folder, out, model = tmp_path / "töne und mehr", tmp_path / "new" / "my index", tmp_path / "model.safetensors"
    shutil.copytree(made / "sounds", folder)
    shutil.copy(made / "model.safetensors", model)
    code, said, err = cli("index", folder, "--out", out, "--model", model)
    assert (code, said) == (1, f"{out}: 24 sounds: 24 new, 0 changed, 0 gone, 0 kept, 1 left out\n")
    assert f"left out: {folder / 'broken.wav'}: not readable as audio" in err
    os.remove(folder / "broken.wav")
    shutil.copy(folder / "00.wav", folder / "00 again.wav")
    code, said, err = cli("index", folder, "--out", out)  # the model is found by what the index says
    assert (code, said, err) == (0, f"{out}: 25 sounds: 1 new, 0 changed, 0 gone, 24 kept\n", err)
    code, said, err = cli("search", "--duplicates", "--index", out)
    assert (code, said.splitlines()[0]) == (0, "1: 2 sounds")
    assert said.splitlines()[2].endswith("00.wav  (identical contents)")
    code, said, err = cli("search", "--duplicates", "--index", out, "--out", tmp_path / "d.csv")
    assert (code, said) == (0, f"{tmp_path / 'd.csv'}: 2 rows\n")

    model.unlink()
    code, _, err = cli("search", folder / "00.wav", "--index", out)
    assert (code, err.count("\n")) == (2, 1)
    assert f"the model that made it cannot be loaded ({model}: no such model file" in err
    for arguments, sentence in (
        ((tmp_path / "none", "--out", out), "none: no such folder."),
        ((folder / "00.wav", "--out", out), "not a folder; give the one that holds the recordings"),
        ((folder, "--out", tmp_path), "is a folder; give the name of a file."),
        ((folder, "--out", tmp_path / "d.csv"), "not an index, or cut short; give another --out, or remove it."),
        ((made / "sounds", "--out", out), "is the index of "),
        ((folder, "--out", folder / "00.wav" / "x"), "cannot be made a folder"),
        ((folder, "--out", out, "--model", tmp_path / "nothing"), "nothing: no such model file"),
    ):
        code, said, err = cli("index", *arguments)
        assert (code, said) == (2, ""), arguments
        assert sentence in err
        assert err.count("\n") == 1


@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings that ship with the repository are not here")
def test_real_recordings(made: Path, cli: Cli, tmp_path: Path) -> None:
    recordings = sorted(path for path in DATA.glob("ESC-10/audio/*") if path.suffix == ".ogg")[:6]
    (tmp_path / "sounds").mkdir()
    for path in recordings:
        shutil.copy(path, tmp_path / "sounds")
    wave, rate = soundfile.read(recordings[0], dtype="float32")
    soundfile.write(tmp_path / "sounds" / "louder and cut.mp3", 0.5 * wave[rate // 4 :], rate)
    out = tmp_path / "index"
    assert cli("index", tmp_path / "sounds", "--out", out, "--model", made / "model.safetensors")[0] == 0
    code, said, _ = cli("search", recordings[1], "--index", out)
    assert code == 0
    assert recordings[1].name in said.splitlines()[1]
    code, said, _ = cli("search", "--duplicates", "--index", out)
    assert code == 0
    lines = said.splitlines()
    assert len(lines) == 3
    assert recordings[0].name in said
    assert "louder and cut.mp3" in said
