"""Audio files as encoders, pipes, recorders and people who join files leave them; and a second decoder."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile

SECONDS = 2.0


@dataclass(frozen=True)
class Kind:
    """One of the files.

    Attributes:
        name: of the file.
        seconds: that it holds.
        make: its bytes.
        note: how what is said of it begins; empty where nothing is to be said.
        rate: in Hz, of its first part.
        reference: what the second decoder is given instead, where it loses a part of the file itself: files whose
            sounds follow on.
        slack: seconds by which decoders may differ at each end.
    """

    name: str
    seconds: float
    make: Callable[[], bytes]
    note: str = ""
    rate: int = 44_100
    reference: Callable[[], Sequence[bytes]] | None = None
    slack: float = 0.12


CUT = "seems to be cut short"


def ffmpeg(*arguments: str, data: bytes | None = None) -> bytes:
    """What FFmpeg writes to standard output."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error"]
    return subprocess.run([*program, *arguments], input=data or b"", capture_output=True).stdout


@cache
def sound(rate: int = 44_100, channels: int = 1, seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    """Notes over noise that swells: no two places are alike. (samples, channels)"""
    time = np.arange(round(seconds * rate)) / rate
    pitch = 200 * 2 ** ((np.floor(time * 7) * (5 + seed) % 12) / 12)
    tone = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    noise = 0.02 * np.random.default_rng(seed).normal(size=(len(time), channels)) * (0.2 + time / seconds)[:, None]
    return (tone[:, None] * np.linspace(1, 0.6, channels) + noise).astype(np.float32)


@cache
def encoded(
    container: str, *options: str, rate: int = 44_100, channels: int = 1, seed: int = 0, piped: bool = False
) -> bytes:
    """The bytes of a file that FFmpeg writes; or those that it writes to a pipe, where it cannot go back."""
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "-"]
    samples = sound(rate, channels, seed=seed).tobytes()
    if piped:
        return ffmpeg(*raw, *options, "-f", container, "-", data=samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        ffmpeg(*raw, *options, "-f", container, "-y", str(path), data=samples)
        return path.read_bytes()


def decoded(files: Sequence[tuple[bytes, int]], folder: Path) -> list[np.ndarray]:
    """Files decoded by FFmpeg, in one process: mono (samples,) of each, at its rate.

    Args:
        files: bytes, and rate in Hz.
        folder: an empty one.
    """
    sources, results = [], []
    for number, (data, rate) in enumerate(files):
        (folder / f"{number}").write_bytes(data)
        sources += ["-i", str(folder / f"{number}")]
        floats = ["-map", f"{number}:a:0", "-ar", str(rate), "-c:a", "pcm_f32le"]
        results += [*floats, "-f", "wav", str(folder / f"{number}.wav")]
    ffmpeg(*sources, *results)
    return [
        soundfile.read(folder / f"{number}.wav", dtype="float32", always_2d=True)[0].mean(1)
        for number in range(len(files))
    ]


def mp3(*options: str, xing: bool = True, rate: int = 44_100, channels: int = 1, seed: int = 0) -> bytes:
    """An MP3 file, with or without a header that counts its frames."""
    plain = ["-c:a", "libmp3lame", "-write_xing", str(int(xing)), "-id3v2_version", "3" if xing else "0"]
    return encoded("mp3", *plain, *(options or ("-q:a", "4")), rate=rate, channels=channels, seed=seed)


def vorbis(seed: int = 0, rate: int = 44_100, channels: int = 1) -> bytes:
    """An Ogg file with Vorbis."""
    return encoded("ogg", "-c:a", "libvorbis", rate=rate, channels=channels, seed=seed)


def wav(
    samples: np.ndarray | None = None, rate: int = 44_100, said: int | None = None, order: str = "<", more: bytes = b""
) -> bytes:
    """A WAV file of 16 bits whose header says what it is told to."""
    samples = sound(rate) if samples is None else samples
    data = np.round(samples * 32767).astype(f"{order}i2").tobytes()
    channels, said = samples.shape[1], len(data) if said is None else said
    name = b"RIFF" if order == "<" else b"RIFX"
    head = struct.pack(f"{order}4sI4s4sI", name, 36 + said, b"WAVE", b"fmt ", 16)
    form = struct.pack(f"{order}HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    return head + form + struct.pack(f"{order}4sI", b"data", said) + data + more


def patched(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """The bytes with others put in at a distance from a mark."""
    place = data.index(mark) + offset
    return data[:place] + value + data[place + len(value) :]


def flac(seed: int = 0, total: int | None = None) -> bytes:
    """A FLAC file, whose header says that it has so many samples."""
    data = bytearray(encoded("flac", "-c:a", "flac", seed=seed))
    return bytes(data) if total is None else with_total(data, total)


def with_total(data: bytes, total: int) -> bytes:
    """A FLAC file with another number of samples in its header."""
    head = bytearray(data)
    head[21] = (head[21] & 0xF0) | (total >> 32)
    head[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(head)


def id3(size: int) -> bytes:
    """An ID3v2 tag."""
    return b"ID3\x03\x00\x00" + bytes([size >> 21, (size >> 14) & 127, (size >> 7) & 127, size & 127]) + bytes(size)


def half(data: bytes) -> bytes:
    """The first half of a file."""
    return data[: len(data) // 2]


def _most(data: bytes) -> bytes:
    return data[: -len(data) // 4]


def _joined(name: str, parts: Callable[[], Sequence[bytes]], count: int = 2, rate: int = 44_100) -> Kind:
    """Files one after the other in one, and each by itself for a decoder that reads the first alone."""
    return Kind(name, count * SECONDS, lambda: b"".join(parts()), rate=rate, reference=parts)


def _mpeg() -> Iterable[Kind]:
    for rate in (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        yield Kind(f"vbr-{rate}.mp3", SECONDS, lambda rate=rate: mp3(xing=False, rate=rate), rate=rate)  # type: ignore[misc]
    yield Kind("cbr.mp3", SECONDS, lambda: mp3("-b:a", "96k", xing=False))
    yield Kind("cbr-16000.mp3", SECONDS, lambda: mp3("-b:a", "32k", xing=False, rate=16_000), rate=16_000)
    yield Kind("abr-stereo.mp3", SECONDS, lambda: mp3("-abr", "1", "-b:a", "96k", xing=False, channels=2))
    yield Kind("vbr-stereo.mp3", SECONDS, lambda: mp3(xing=False, channels=2))
    yield Kind("whole.mp3", SECONDS, mp3)
    yield Kind("pipe.mp3", SECONDS, lambda: encoded("mp3", "-q:a", "4", piped=True))
    yield Kind("pipe-22050.mp3", SECONDS, lambda: encoded("mp3", rate=22_050, piped=True), rate=22_050)
    yield _joined("joined.mp3", lambda: (mp3(), mp3(seed=1)))
    yield _joined("joined-thrice.mp3", lambda: (mp3(), mp3(seed=1), mp3()), 3)
    yield _joined("joined-headerless.mp3", lambda: (mp3(xing=False), mp3(xing=False, seed=1)))
    yield _joined("joined-rates.mp3", lambda: (mp3(), mp3(rate=22_050, seed=1)))
    yield _joined("joined-channels.mp3", lambda: (mp3(), mp3(channels=2, seed=1)))
    yield _joined("joined-first-headerless.mp3", lambda: (mp3(xing=False), mp3(seed=1)))
    yield _joined("joined-tags.mp3", lambda: (mp3(), id3(300) + mp3(seed=1) + b"TAG" + bytes(125)))
    few, many = struct.pack(">I", 20), struct.pack(">I", 900)
    yield Kind("too-few.mp3", SECONDS, lambda: patched(mp3(), b"Xing", 8, few), reference=lambda: [mp3()])
    yield Kind("too-many.mp3", SECONDS, lambda: patched(mp3(), b"Xing", 8, many), CUT)
    yield Kind("in-riff.wav", SECONDS, lambda: encoded("wav", "-c:a", "libmp3lame", "-b:a", "96k"))
    yield Kind("in-riff-pipe.wav", SECONDS, lambda: encoded("wav", "-c:a", "libmp3lame", "-b:a", "96k", piped=True))
    yield Kind("tags.mp3", SECONDS, lambda: id3(5000) + mp3(xing=False) + b"TAG" + bytes(125))
    yield Kind("zeros-before.mp3", SECONDS, lambda: bytes(3000) + mp3(xing=False))
    yield Kind("wrong-name.wav", SECONDS, lambda: mp3(xing=False))
    yield Kind("cut-headerless.mp3", SECONDS / 2, lambda: half(mp3(xing=False)), slack=0.3)
    yield Kind("cut.mp3", SECONDS / 2, lambda: half(mp3()), CUT, slack=0.3)
    yield Kind("layer-2.mp2", SECONDS, lambda: encoded("mp2", "-c:a", "mp2", "-b:a", "96k"))
    yield Kind("layer-2-stereo.mp3", SECONDS, lambda: encoded("mp2", "-c:a", "mp2", "-b:a", "192k", channels=2))


def _opus(seed: int = 0) -> bytes:
    return encoded("ogg", "-c:a", "libopus", rate=48_000, seed=seed)


def _ogg() -> Iterable[Kind]:
    yield _joined("chain-2.ogg", lambda: (vorbis(0), vorbis(1)))
    yield _joined("chain-3.ogg", lambda: (vorbis(0), vorbis(1), vorbis(2)), 3)
    yield _joined("chain-rates.ogg", lambda: (vorbis(0), vorbis(1, 22_050)))
    yield _joined("chain-channels.ogg", lambda: (vorbis(0), vorbis(1, channels=2)))
    yield _joined("chain.opus", lambda: (_opus(0), _opus(1)), rate=48_000)
    yield _joined("chain-of-both.ogg", lambda: (_opus(0), vorbis(1)), rate=48_000)
    yield _joined("chain.oga", lambda: [encoded("ogg", "-c:a", "flac", seed=seed) for seed in (0, 1)])
    yield Kind("pipe.ogg", SECONDS, lambda: encoded("ogg", "-c:a", "libvorbis", piped=True))
    yield Kind("pipe.opus", SECONDS, lambda: encoded("ogg", "-c:a", "libopus", rate=48_000, piped=True), rate=48_000)
    yield Kind("pipe.oga", SECONDS, lambda: encoded("ogg", "-c:a", "flac", piped=True))
    yield Kind(
        "cut-chain.ogg",
        1.6 * SECONDS,
        lambda: vorbis(0) + _most(vorbis(1)),
        CUT,
        reference=lambda: [vorbis(0), _most(vorbis(1))],
        slack=0.4 * SECONDS,
    )


def _flac() -> Iterable[Kind]:
    yield Kind("pipe.flac", SECONDS, lambda: encoded("flac", "-c:a", "flac", piped=True))
    yield Kind("pipe-stereo.flac", SECONDS, lambda: encoded("flac", "-c:a", "flac", channels=2, piped=True))
    deep = ("flac", "-c:a", "flac", "-sample_fmt", "s32")
    yield Kind("unknown-24-bit.flac", SECONDS, lambda: with_total(encoded(*deep, channels=2), 0))
    yield Kind("too-few.flac", SECONDS, lambda: flac(total=9000))
    yield Kind("too-many.flac", SECONDS, lambda: flac(total=200_000), CUT)
    yield Kind("tag-before.flac", SECONDS, lambda: id3(700) + flac(total=0))
    yield Kind("cut.flac", SECONDS / 2, lambda: half(flac()), CUT, slack=0.6)
    yield _joined("joined.flac", lambda: (flac(), flac(1)))


def _wav() -> Iterable[Kind]:
    never, less, size = "its header was never completed", "its header says that it holds", round(SECONDS * 44_100) * 2
    yield Kind("lost-power.wav", SECONDS, lambda: wav(said=0), never, reference=lambda: [wav()])
    stereo = sound(channels=2)
    yield Kind("lost-stereo.wav", SECONDS, lambda: wav(stereo, said=0), never, reference=lambda: [wav(stereo)])
    empty = bytes(4)
    yield Kind("lost.wav", SECONDS, lambda: patched(wav(said=0), b"RIFF", 4, empty), never, reference=lambda: [wav()])
    yield Kind("lost-big.wav", SECONDS, lambda: wav(said=0, order=">"), never, reference=lambda: [wav()])
    yield Kind("lost-later.wav", SECONDS, lambda: wav(said=size // 4), less, reference=lambda: [wav()])
    yield Kind("pipe.wav", SECONDS, lambda: encoded("wav", piped=True), reference=lambda: [wav()])
    for slip in (2, 8, 44, 400):
        yield Kind(f"too-large-{slip}.wav", SECONDS, lambda slip=slip: wav(said=size + slip))  # type: ignore[misc]
    tag = b"LIST" + struct.pack("<I", 4) + b"INFO"
    yield Kind("chunk-after.wav", SECONDS, lambda: wav(more=tag))
    yield Kind("cut.wav", SECONDS / 2, lambda: half(wav()), CUT)
    yield _joined("joined.wav", lambda: (wav(), wav(sound(seed=1))))
    for codec in ("adpcm_ima_wav", "adpcm_ms", "pcm_mulaw", "pcm_f32le", "pcm_s24le"):

        def whole(codec: str = codec) -> bytes:
            return encoded("wav", "-c:a", codec)

        def lost(whole: Callable[[], bytes] = whole) -> bytes:
            return patched(whole(), b"data", 4, empty)

        yield Kind(f"lost-{codec}.wav", SECONDS, lost, never, reference=lambda whole=whole: [whole()])  # type: ignore[misc]


def _others() -> Iterable[Kind]:
    for name, container, options, rate in (
        ("aac.m4a", "ipod", ("-c:a", "aac"), 44_100),
        ("alac.m4a", "ipod", ("-c:a", "alac"), 44_100),
        ("aac.mp4", "mp4", ("-c:a", "aac", "-ac", "2"), 44_100),
        ("adts.aac", "adts", ("-c:a", "aac"), 44_100),
        ("v1.wma", "asf", ("-c:a", "wmav1"), 44_100),
        ("v2.wma", "asf", ("-c:a", "wmav2"), 44_100),
        ("nb.amr", "amr", ("-c:a", "libopencore_amrnb"), 8_000),
        ("nb.3gp", "3gp", ("-c:a", "libopencore_amrnb"), 8_000),
        ("opus.webm", "webm", ("-c:a", "libopus"), 48_000),
        ("vorbis.webm", "webm", ("-c:a", "libvorbis"), 44_100),
        ("pack.wv", "wv", ("-c:a", "wavpack"), 44_100),
        ("flac.mka", "matroska", ("-c:a", "flac"), 44_100),
        ("audio.tta", "tta", ("-c:a", "tta"), 44_100),
    ):

        def make(container: str = container, options: tuple[str, ...] = options, rate: int = rate) -> bytes:
            return encoded(container, *options, rate=rate)

        yield Kind(name, SECONDS, make, rate=rate)


def kinds() -> tuple[list[Kind], list[Kind]]:
    """Those that libsndfile reads, and those that need the extra ``formats``."""
    return [*_mpeg(), *_ogg(), *_flac(), *_wav()], list(_others())
