"""Random bytes and damaged files through the decoder, in a process of its own, which has to survive every one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.audio import read
from soundalike.core.errors import AudioError

INPUTS, PROCESSES = 2400, 2
MOST_SECONDS = 10  # of processor time for one input
MOST_MEMORY = 2 << 30  # bytes of address space

# format, subtype: libsndfile's names of what is damaged
FILES = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("AIFF", "DOUBLE"),
    ("AU", "PCM_16"),
    ("AU", "ULAW"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
]
MAGIC = [
    b"RIFF\xff\xff\xff\xffWAVEfmt ",
    b"RIFX",
    b"RF64",
    b"fLaC\x00\x00\x00\x22",
    b"OggS\x00\x02",
    b"\xff\xfb\x90\x64",
    b"ID3\x03\x00\x00",
    b"FORM\x00\x00\x10\x00AIFFCOMM",
    b"FORM\x00\x00\x10\x00AIFCFVER",
    b"FORM\x00\x00\x10\x008SVXVHDR",
    b".snd\x00\x00\x00\x18",
    b"dns.",
    b"caff\x00\x01\x00\x00desc",
    b"riff\x2e\x91\xcf\x11",
    b"Creative Voice File\x1a",
    b"NIST_1A\n   1024\n",
    b"\x64\xa3\x01\x00",  # IRCAM
    b"MATLAB 5.0 MAT-file",
    b" paf",
    b"PVF1\n",
    b"2BIT",
    b"\xf0\x7e",  # SDS
    b"ALawSoundFile**",
    b"Extended Instrument: ",
    b"LPC\x00",
]


def originals(folder: Path) -> list[bytes]:
    """A small file of each kind."""
    random = np.random.default_rng(0)
    sound = 0.3 * np.sin(np.arange(3000) / 5)[:, None] + 0.05 * random.standard_normal((3000, 1))
    found = []
    for container, subtype in FILES:
        path = folder / "original"
        soundfile.write(path, sound, 8000 if subtype == "OPUS" else 11025, format=container, subtype=subtype)
        found.append(path.read_bytes())
    return found


def damaged(seed: int, whole: list[bytes]) -> bytes:
    """Input number ``seed``."""
    random = np.random.default_rng(seed)

    def below(most: int) -> int:
        return int(random.integers(most))

    kind = seed % 6
    if kind == 0:
        return (b"" if seed % 12 else MAGIC[below(len(MAGIC))]) + random.bytes(1 + below(4000))
    data = bytearray(whole[(seed // 6) % len(whole)])
    header = min(len(data), 200)
    edits: dict[int, Callable[[], None]] = {
        1: lambda: data.__setitem__(below(header), [0, 1, 127, 128, 255, below(256)][below(6)]),
        2: lambda: _number(data, below(header), random),
        3: lambda: data.__setitem__(below(len(data)), below(256)),
        4: lambda: data.__delitem__(slice(below(header), header)),
        5: lambda: _moved(data, below(header), below(len(data)), 1 + below(64)),
    }
    for _ in range(1 + below({1: 10, 2: 3, 3: 40, 4: 1, 5: 4}[kind])):
        edits[kind]()
    if below(3) == 0:
        del data[1 + below(len(data)) :]
    return bytes(data) or b"\0"


def _number(data: bytearray, place: int, random: np.random.Generator) -> None:
    """A field overwritten with a number that sizes and counts are not expected to have."""
    value = [0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000][int(random.integers(8))]
    width, order = (2, 4, 8)[int(random.integers(3))], ("little", "big")[int(random.integers(2))]
    data[place : place + width] = (value % (1 << (8 * width))).to_bytes(width, order)  # type: ignore[arg-type]


def _moved(data: bytearray, place: int, origin: int, count: int) -> None:
    data[place : place + count] = data[origin : origin + count]


def child(folder: Path, first: int) -> None:
    """Decodes every input of its own, writing down its number first."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    whole, path, decoded = originals(folder), folder / "input", 0
    for seed in range(first, INPUTS, PROCESSES):
        print(seed, flush=True)
        path.write_bytes(damaged(seed, whole))
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)  # kills, also within the C library
        try:
            waveform = read.decode(path, [16000]).waveforms[16000]
        except AudioError as error:
            said = str(error)
            if not said.startswith(f"{path}: ") or "\n" in said or "MemoryError" in said:
                raise
        else:
            decoded += 1
            assert waveform.ndim == 1
            assert len(waveform)
            assert np.isfinite(waveform).all()
    print(f"decoded {decoded}", flush=True)


@pytest.mark.parametrize("first", range(PROCESSES))
def test_no_input_ends_the_process(tmp_path: Path, first: int) -> None:
    command = [sys.executable, __file__, str(tmp_path), str(first)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # whose threads reserve memory
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    except subprocess.TimeoutExpired as late:
        last = (late.stdout or b"").split()[-1:]
        pytest.fail(f"input {last} hangs")
    said = done.stdout.split("\n")
    assert done.returncode == 0, f"input {said[-2]} ended it with {done.returncode}: {done.stderr[-2000:]}"
    # neither all whole nor all beyond use
    assert INPUTS / PROCESSES * 0.2 < int(said[-2].removeprefix("decoded ")) < INPUTS / PROCESSES * 0.8


if __name__ == "__main__":
    child(Path(sys.argv[1]), int(sys.argv[2]))
