"""Files whose header does not say their length, or says another: decoded to the end, and compared with FFmpeg."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from compressed_files import SECONDS, Kind, decoded, encoded, kinds, mp3, sound, wav
from soundalike.audio import buffer, contents, decoding, mpeg, read
from soundalike.audio import kinds as of_files
from soundalike.audio.stream import LongSound
from soundalike.core.errors import AudioError

EVERY, EXTRA = kinds()
NAMES = [kind.name for kind in (*EVERY, *EXTRA)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, np.ndarray]]:
    """By name: the file, and what FFmpeg makes of it."""
    folder, asked, parts = tmp_path_factory.mktemp("files"), [], []
    for kind in (*EVERY, *EXTRA):
        data = kind.make()
        (folder / kind.name).write_bytes(data)
        references = list(kind.reference()) if kind.reference else [data]
        parts.append(len(references))
        asked += [(reference, kind.rate) for reference in references]
    waveforms = iter(decoded(asked, tmp_path_factory.mktemp("references")))
    return {
        name: (folder / name, np.concatenate([next(waveforms) for _ in range(count)]))
        for name, count in zip(NAMES, parts, strict=True)
    }


def aligned(one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Correlation of two sounds where they fit best, and by how many samples one is later."""
    size = 1 << int(np.ceil(np.log2(len(one) + len(other))))
    products = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    shift = int(np.argmax(products))
    shift -= size if shift > size // 2 else 0
    one, other = one[max(0, shift) :], other[max(0, -shift) :]
    length = min(len(one), len(other))
    return float(np.corrcoef(one[:length], other[:length])[0, 1]), shift


def test_there_are_many() -> None:
    assert len(EVERY) >= 60
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("kind", [*EVERY, *EXTRA], ids=lambda kind: kind.name)
def test_a_file_is_decoded_to_its_end(kind: Kind, files: dict[str, tuple[Path, np.ndarray]]) -> None:
    path, reference = files[kind.name]
    outcome = read.decode(path, [kind.rate])
    waveform = outcome.waveforms[kind.rate]
    assert len(waveform) / kind.rate == pytest.approx(kind.seconds, abs=kind.slack)
    assert len(waveform) / kind.rate == pytest.approx(len(reference) / kind.rate, abs=max(0.05, 600 / kind.rate))
    correlation, shift = aligned(waveform, reference)
    assert correlation > 0.99
    assert abs(shift) <= 1200, "decoders differ in how much of the delay of an encoder they leave out"
    assert (outcome.note or "").startswith(kind.note)
    assert bool(outcome.note) == bool(kind.note), outcome.note
    told = read.duration(path)
    assert told is not None
    assert told == pytest.approx(len(waveform) / kind.rate, abs=0.2)
    if path.suffix == ".flac" and not kind.note:
        np.testing.assert_allclose(waveform, reference, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["vbr-44100.mp3", "chain-rates.ogg", "joined-rates.mp3", "pipe.flac", "lost-power.wav"]
)
def test_blocks_are_the_whole(name: str, files: dict[str, tuple[Path, np.ndarray]]) -> None:
    path = files[name][0]
    whole = read.load(path, 16_000) if "power" not in name else read.decode(path, [16_000]).waveforms[16_000]
    np.testing.assert_allclose(np.concatenate(list(read.Blocks(path, 16_000, 0.3))), whole, atol=1e-6)
    long = LongSound(path, 16_000)
    np.testing.assert_allclose(long.read(0, len(long)), whole, atol=1e-6)
    beginning = read.decode(path, [16_000], 0.5).waveforms[16_000]
    np.testing.assert_allclose(beginning[:7_900], whole[:7_900], atol=1e-3)


def test_parts_of_other_rates_lie_where_they_belong(files: dict[str, tuple[Path, np.ndarray]]) -> None:
    """Each part by itself, and both in one file."""
    path, _ = files["chain-rates.ogg"]
    whole = read.load(path, 16_000)
    parts = []
    for rate, seed in ((44_100, 0), (22_050, 1)):
        single = path.with_name(f"single-{rate}.ogg")
        single.write_bytes(encoded("ogg", "-c:a", "libvorbis", rate=rate, seed=seed))
        parts.append(read.load(single, 16_000))
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=0.02)


# the extra


@pytest.mark.parametrize("kind", EXTRA, ids=lambda kind: kind.name)
def test_without_the_extra_it_is_said_what_a_file_is(
    kind: Kind, files: dict[str, tuple[Path, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (of_files, contents, decoding):
        monkeypatch.setattr(module, "extra_is_there", lambda: False)
    contents._contents.cache_clear()
    with pytest.raises(AudioError) as raised:
        read.load(files[kind.name][0])
    contents._contents.cache_clear()
    name = {"m4a": "MP4", "mp4": "MP4", "aac": "AAC", "wma": "WMA", "amr": "AMR", "3gp": "3GP", "wv": "WavPack"}
    more = {"webm": "WebM", "mka": "Matroska", "tta": "True Audio"}
    said = str(raised.value)
    assert {**name, **more}[kind.name.rpartition(".")[2]] in said
    assert said.endswith(", which pip install 'soundalike[formats]' reads.")


def test_an_encoding_of_a_known_format_that_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("wav", "-c:a", "wmav2"))
    assert len(read.load(path, 44_100)) / 44_100 == pytest.approx(SECONDS, abs=0.1)
    monkeypatch.setattr(decoding, "extra_is_there", lambda: False)
    with pytest.raises(
        AudioError, match=r"\(its encoding is not known; pip install 'soundalike\[formats\]' reads more\)"
    ):
        read.load(path)


@pytest.mark.parametrize("name", ["9: 41.m4a", "http: a.m4a", "100%d.m4a", "\udce9.m4a"])
def test_names_that_ffmpeg_takes_for_something_else(
    name: str, files: dict[str, tuple[Path, np.ndarray]], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(files["aac.m4a"][0].read_bytes())
    np.testing.assert_array_equal(read.load(tmp_path / name), read.load(files["aac.m4a"][0]))


@pytest.mark.parametrize("name", ["aac.m4a", "v2.wma", "opus.webm", "adts.aac", "pack.wv"])
def test_damaged_files_of_the_extra(name: str, files: dict[str, tuple[Path, np.ndarray]], tmp_path: Path) -> None:
    whole = files[name][0].read_bytes()
    random = np.random.default_rng(0)
    path, read_some, said = tmp_path / name, 0, []
    for number in range(30):
        data = bytearray(whole[: int(random.integers(20, len(whole)))] if number % 2 else whole)
        for _ in range(number):
            data[int(random.integers(len(data)))] = int(random.integers(256))
        path.write_bytes(data)
        try:
            outcome = read.decode(path, [16_000])
        except AudioError as error:
            said.append(str(error))
        else:
            read_some += 1
            assert np.isfinite(outcome.waveforms[16_000]).all()
    assert read_some
    assert all(each.startswith(f"{path}: ") for each in said)


# frames of MPEG audio


def test_frames_are_counted() -> None:
    data = mp3(xing=False)
    (stream,) = mpeg.streams(data)
    assert stream.frames == len(sound()) // 1152 + 2
    assert stream.ranges == [(0, len(data))]
    assert mpeg.streams(b"no frames at all " * 100) == []
    assert mpeg.streams(b"") == []


def test_junk_between_frames_is_passed_over() -> None:
    data = mp3(xing=False)
    (stream,) = mpeg.streams(data)
    middle = next(place for place in range(len(data) // 2, len(data)) if mpeg._chain(data, place))
    (again,) = mpeg.streams(data[:middle] + b"\xff\xfb" + bytes(500) + data[middle:])
    assert again.frames in (stream.frames, stream.frames - 1)
    assert len(again.ranges) == 2


# what recorders leave


def test_an_empty_file_of_a_recorder_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.zeros((0, 1), np.float32)) + b"LIST\x04\0\0\0INFO")
    with pytest.raises(AudioError, match="holds no audio samples"):
        read.load(path)


def test_the_samples_of_a_file_without_a_size_are_those_of_the_whole(tmp_path: Path) -> None:
    samples = sound(16_000, 2)
    for name, data in (("whole", wav(samples, 16_000)), ("lost", wav(samples, 16_000, said=0))):
        (tmp_path / name).write_bytes(data)
    whole, lost = (read.decode(tmp_path / name, [16_000]) for name in ("whole", "lost"))
    np.testing.assert_array_equal(lost.waveforms[16_000], whole.waveforms[16_000])
    assert (whole.note, lost.note) == (None, "its header was never completed; the 2 s that follow it are used.")


# what reaches people


def test_no_word_of_a_decoder_reaches_standard_error(tmp_path: Path) -> None:
    whole, random = mp3(), np.random.default_rng(0)
    for number in range(12):
        data = bytearray(whole)
        for _ in range(40):
            data[int(random.integers(len(data)))] = int(random.integers(256))
        (tmp_path / f"{number}.mp3").write_bytes(data)
    program = """
import sys, warnings
from pathlib import Path
from soundalike.audio import read
warnings.simplefilter("ignore")
for path in sorted(Path(sys.argv[1]).glob("*.mp3")):
    read.decode(path, [16000])
    print("decoded", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.stderr.split() == ["decoded"] * 12


def test_the_inner_words_of_a_library_are_not_repeated(tmp_path: Path) -> None:
    said = set()
    for number, data in enumerate(
        (wav()[:30], b"RIFF" + bytes(40), b"FORM" + bytes(60), b"fLaC" + bytes(80), b"OggS" + bytes(90))
    ):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(data)
        with pytest.raises(AudioError) as raised:
            read.load(path)
        said.add(str(raised.value).removeprefix(f"{path}: "))
    assert not any(word in each for each in said for word in ("SF_INFO", "struct", "psf", "Error", "Internal"))


# the bytes of a file


def test_the_bytes_of_a_file_are_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_WINDOW", 64)
    data = np.random.default_rng(0).bytes(1000)
    (tmp_path / "a").write_bytes(data)
    random = np.random.default_rng(1)
    with (tmp_path / "a").open("rb") as stream:
        found = buffer.FileBytes(stream, len(data))
        for _ in range(500):
            first, last = (int(place) for place in random.integers(0, 1100, 2))
            assert found[first:last] == data[first:last]
            if first < len(data):
                assert found[first] == data[first]
        with pytest.raises(IndexError):
            found[1000]
        assert found[-10:] == data[-10:]
        (tmp_path / "a").write_bytes(data[:100])
        assert buffer.FileBytes(stream, len(data))[90:120] == data[90:100] + bytes(20)


@pytest.mark.parametrize("form", ["AIFF", "W64", "CAF", "AU"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_recorder_that_lost_power(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / f"a.{form.lower()}"
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (9001, 2))
    soundfile.write(path, samples, 16_000, format=form, subtype=subtype)
    expected = read.load(path)
    data = bytearray(path.read_bytes())
    for name, place, length in {
        "AIFF": [(b"FORM", 4, 4), (b"COMM", 10, 4), (b"SSND", 4, 4)],
        "W64": [(b"riff", 16, 8), (b"data", 16, 8)],
        "CAF": [(b"data", 4, 8)],
        "AU": [(b".snd", 8, 4)],
    }[form]:
        first = data.index(name) + place
        data[first : first + length] = bytes(length)
    path.write_bytes(data)
    heard = read.decode(path, [16_000])
    np.testing.assert_array_equal(heard.waveforms[16_000][: len(expected)], expected)
    assert len(heard.waveforms[16_000]) - len(expected) <= 8  # chunks that the program had written before
    assert heard.note == "its header was never completed; what follows it is used."
