"""The set of notes that asks for their pitch: what it plays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks are run from the checkout, not installed

from benchmarks import pitches

NOTES = st.lists(st.tuples(st.integers(0, 127), st.integers(1, 127)), min_size=1, max_size=5)


def events(song: bytes) -> list[tuple[int, bytes]]:
    """Ticks and bytes of every event of a MIDI file with one track, read by the standard's rules."""
    assert song[:4] == b"MThd"
    assert song[14:18] == b"MTrk"
    track = song[22:]
    assert int.from_bytes(song[18:22], "big") == len(track)
    found, now = [], 0
    while track:
        ticks = 0
        while True:
            byte, track = track[0], track[1:]
            ticks = ticks << 7 | byte & 0x7F
            if byte < 0x80:
                break
        now += ticks
        size = {0x80: 3, 0x90: 3, 0xC0: 2, 0xF0: 3}[track[0] & 0xF0]
        found.append((now, track[:size]))
        track = track[size:]
    return found


@given(program=st.integers(0, 127), notes=NOTES)
def test_a_note_lasts_a_second_and_a_second_of_silence_follows(program: int, notes: Sequence[tuple[int, int]]) -> None:
    first, *played, last = events(pitches.midi(program, notes))
    beat = 480  # half a second
    assert first == (0, bytes((0xC0, program)))
    assert played == [
        event
        for number, (pitch, loudness) in enumerate(notes)
        for event in (
            (4 * beat * number, bytes((0x90, pitch, loudness))),
            (4 * beat * number + 2 * beat, bytes((0x80, pitch, 0))),
        )
    ]
    assert last == (4 * beat * len(notes), b"\xff\x2f\x00")


def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--soundfont", str(tmp_path / "none.sf2"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/fluidsynth")
    assert pitches.main(given) == 2
    assert "none.sf2: no such soundfont" in capsys.readouterr().err
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert pitches.main(given) == 2
    assert "the program fluidsynth is needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
