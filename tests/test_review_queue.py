"""Which sounds a person is asked about next, against slow and obvious ways to find them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local_server import refusal
from soundalike.apps.review.queue import ORDERS, alike, farthest, kinds, ordered, units
from soundalike.apps.review.seekable import seekable
from soundalike.apps.review.sounds import items_of
from soundalike.audio import read
from soundalike.audio.segment import Segment


def made(count: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labelled = draw.random(count) < 0.3
    return units(draw.normal(size=(count, 6))), labelled, draw.dirichlet(np.ones(3), size=count)


def test_units_are_cosines_of_standardised_embeddings() -> None:
    vectors = np.random.default_rng(1).normal(3, 2, size=(9, 4))
    plain = (vectors - vectors.mean(0)) / vectors.std(0)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(units(vectors) @ units(vectors).T, plain @ plain.T, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("learned", [True, False])
def test_every_order_has_every_sound_without_a_label_once(order: str, learned: bool) -> None:
    unit, labelled, probabilities = made()
    found = ordered(order, unit, labelled, probabilities if learned else None, 1, most=100)
    assert sorted(found.tolist()) == np.flatnonzero(~labelled).tolist()
    assert len(ordered(order, unit, labelled, probabilities, 1, most=5)) == 5
    assert len(ordered(order, unit, np.ones(40, bool), probabilities, 1)) == 0


def test_most_likely_of_a_class_first() -> None:
    unit, labelled, probabilities = made()
    found = ordered("likely", unit, labelled, probabilities, 2)
    assert (np.diff(probabilities[found, 2]) <= 0).all()
    examples = np.flatnonzero(labelled)[:2]
    found = ordered("likely", unit, labelled, None, None, examples)  # nothing is learned yet: like the examples
    closest = [max(unit[row] @ unit[example] for example in examples) for row in found]
    assert closest == sorted(closest, reverse=True)


def test_the_least_sure_is_first_and_its_twins_wait() -> None:
    unit = units(np.random.default_rng(0).normal(size=(6, 5)))
    unit[1] = unit[0]
    sure = np.array([0.5, 0.5, 0.55, 0.9, 0.95, 0.99])
    found = ordered("unsure", unit, np.zeros(6, bool), np.stack([sure, 1 - sure], 1)).tolist()
    assert found[0] in (0, 1)
    assert found[1] == 2
    assert set(found[-2:]) == {4 if 4 in found[-2:] else 5, 1 - found[0]} or found[-1] == 1 - found[0]


@pytest.mark.parametrize("known", [True, False])
def test_unlike_all_that_is_known_and_all_before(known: bool) -> None:
    unit, labelled, _ = made(seed=3)
    open_rows = np.flatnonzero(~labelled)
    rows = np.flatnonzero(labelled) if known else np.zeros(0, int)
    found = farthest(unit, open_rows, rows, 10, seed=1)
    seen = rows.tolist() if known else [int(found[0])]
    for row in found[0 if known else 1 :]:
        left = [each for each in open_rows if each not in seen]
        closest = {each: max(float(unit[each] @ unit[other]) for other in seen) for each in left}
        assert closest[row] <= min(closest.values()) + 1e-6
        seen.append(int(row))


def test_one_of_each_kind_comes_first() -> None:
    draw = np.random.default_rng(0)
    kind = np.repeat(np.arange(4), (12, 3, 9, 6))
    unit = units(draw.normal(size=(4, 8))[kind] + 0.02 * draw.normal(size=(30, 8)))
    first = kinds(unit, 4)
    assert kind[first].tolist() == [0, 2, 3, 1]  # the largest first
    middle = np.stack([unit[kind == each].mean(0) for each in range(4)])
    for row in first:
        own = np.flatnonzero(kind == kind[row])
        assert row == own[np.linalg.norm(unit[own] - middle[kind[row]], axis=1).argmin()]
    labelled = np.zeros(30, bool)
    probabilities = draw.dirichlet(np.ones(4), size=30)
    assert ordered("unsure", unit, labelled, None, first=first)[:4].tolist() == first.tolist()
    labelled[first[0]] = True
    found = ordered("unsure", unit, labelled, probabilities, first=first, most=10).tolist()
    assert found[:3] == first[1:].tolist()
    assert len(set(found)) == 10
    labelled[[each for each in range(30) if each not in first][:3]] = True  # as many labels as there are kinds
    found = ordered("unsure", unit, labelled, probabilities, first=first, most=100)
    assert found.tolist() == ordered("unsure", unit, labelled, probabilities, most=100).tolist()
    assert sorted(kinds(unit[:3], 4)) == [0, 1, 2]


def test_the_most_alike_have_no_label() -> None:
    unit, labelled, _ = made()
    row = int(np.flatnonzero(~labelled)[0])
    found = alike(unit, row, labelled, 5)
    others = [each for each in np.flatnonzero(~labelled) if each != row]
    assert found.tolist() == sorted(others, key=lambda each: -float(unit[each] @ unit[row]))[:5]
    assert len(alike(unit, row, labelled, 100)) == len(others)


def test_random_is_the_same_whenever_it_is_asked_for() -> None:
    unit, labelled, _ = made()
    first = ordered("random", unit, labelled, None)
    labelled[first[0]] = True
    assert ordered("random", unit, labelled, None).tolist() == first[1:].tolist()
    assert "did you mean 'random'" in refusal(ordered, "ramdom", unit, labelled, None)


def write(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, int(seconds * 8000)), 8000)


def test_long_recordings_come_as_pieces(tmp_path: Path) -> None:
    write(tmp_path / "night.wav", 10.2)
    write(tmp_path / "short.wav", 2.9)
    (tmp_path / "broken.wav").write_text("no sound")
    items, left_out = items_of(tmp_path, every=2.0, length=3.0)
    assert left_out == []
    whole = [item for item in items if not isinstance(item.sound, Segment)]
    assert [item.name for item in whole] == ["broken.wav", "short.wav"]
    pieces = [(item.sound.start, item.sound.end) for item in items if isinstance(item.sound, Segment)]
    assert pieces == [(0, 3), (2, 5), (4, 7), (6, 9), (8, 10.2)]
    assert len({item.key for item in items}) == len(items)
    again = {item.key: item.sound for item in items_of(tmp_path, every=2.0, length=3.0)[0]}
    assert again == {item.key: item.sound for item in items}
    for wrong in ({"every": 0.0}, {"every": -1.0}, {"every": 1.0, "length": 0.0}, {"length": 1.0}):
        assert "--" in refusal(items_of, tmp_path, **wrong)


def test_pieces_of_a_compressed_recording_are_read_from_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path / "cache"))
    tone = (0.5 * np.sin(np.arange(8 * 44100) ** 2 * 2e-7)).astype(np.float32)
    for name in ("a.mp3", "a.flac"):
        soundfile.write(tmp_path / name, tone, 44100)
    exact = Segment(tmp_path / "a.flac", 3.0, 4.0)
    assert seekable(exact) == exact
    assert seekable(tmp_path / "a.mp3") == tmp_path / "a.mp3"
    piece = Segment(tmp_path / "a.mp3", 3.0, 4.0)
    copy = seekable(piece)
    assert copy == seekable(piece)
    assert isinstance(copy, Segment)
    assert copy.path.parent == tmp_path / "cache" / "review"
    np.testing.assert_allclose(read.load(copy), read.load(piece), atol=2e-3)
    stamp = (tmp_path / "a.mp3").stat().st_mtime_ns
    os.utime(tmp_path / "a.mp3", ns=(stamp, stamp + 1))
    assert seekable(piece) != copy  # another recording by that name


def test_what_leads_out_of_the_folder_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "private" / "secret.wav", 1)
    write(tmp_path / "sounds" / "real" / "a.wav", 1)
    (tmp_path / "sounds" / "link.wav").symlink_to(tmp_path / "private" / "secret.wav")
    (tmp_path / "sounds" / "inner.wav").symlink_to(tmp_path / "sounds" / "real" / "a.wav")
    items, left_out = items_of(tmp_path / "sounds")
    assert [item.name for item in items] == ["inner.wav", "real/a.wav"]
    assert [failure.path.name for failure in left_out] == ["link.wav"]
    (tmp_path / "sounds" / "inner.wav").unlink()
    (tmp_path / "sounds" / "real" / "a.wav").unlink()
    assert "lead out of it" in refusal(items_of, tmp_path / "sounds")
