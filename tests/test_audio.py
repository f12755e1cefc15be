from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundalike.audio import decoding
from soundalike.audio import read as audio
from soundalike.core.errors import AudioError, SoundalikeError, UnreadableFolderWarning

FORMATS = {
    "wav": {},
    "flac": {},
    "ogg": {},
    "mp3": {},
    "aiff": {},
    "au": {},
    "w64": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
LOSSY = ("ogg", "mp3", "opus")


def tone(seconds: float = 0.5, rate: int = 16000, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 16000, **kwargs: str) -> Path:
    soundfile.write(path, samples, rate, **kwargs)
    return path


@pytest.fixture(autouse=True)
def _no_warnings() -> object:
    """A whole file must not be called truncated: only the tests that expect the warning may see it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", audio.TruncatedAudioWarning)
        yield


# find


def test_find_takes_files_as_given_and_folders_sorted(tmp_path: Path) -> None:
    for name in ("b/2.WAV", "b/1.flac", "b/c/0.mp3", "b/.hidden.wav", "b/.git/3.wav", "b/notes.txt", "a.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / name for name in ("a.xyz", "b/1.flac", "b/2.WAV", "b/c/0.mp3")]
    assert audio.find([tmp_path / "a.xyz", tmp_path / "b"]) == expected
    assert audio.find(str(tmp_path / "b")) == expected[1:]


def test_find_below_a_hidden_folder_that_was_given(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a.wav").touch()
    assert audio.find(tmp_path / ".cache") == [tmp_path / ".cache" / "a.wav"]


def test_find_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SoundalikeError, match=r"no audio .*\.flac.*\.wav"):
        audio.find(tmp_path)
    with pytest.raises(SoundalikeError, match=r"nowhere: no such file"):
        audio.find([tmp_path / "nowhere"])


# load


@pytest.mark.parametrize("suffix", FORMATS)
def test_load_reads_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(), **FORMATS[suffix])
    assert path.suffix in audio.SUFFIXES
    waveform = audio.load(path)
    assert waveform.dtype == np.float32
    assert waveform.shape == (8000,)
    compared = slice(0, 7500 if suffix in LOSSY else None)  # opus fades at the end
    np.testing.assert_allclose(waveform[compared], tone()[compared], atol=0.1 if suffix in LOSSY else 1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_load_resamples(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", tone(0.5, rate), rate)
    waveform = audio.load(path, 16000)
    assert abs(len(waveform) - 8000) <= 1
    inner = slice(500, 7500)  # a filter's ends differ
    np.testing.assert_allclose(waveform[inner], tone()[inner], atol=1e-3)


def test_load_removes_what_the_lower_rate_cannot_hold(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.5, 48000, frequency=10000), 48000)
    assert np.abs(audio.load(path, 16000)[500:-500]).max() < 1e-3


def test_load_takes_the_mean_of_the_channels(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-0.9, 0.9, (1000, 8)).astype(np.float32)
    path = write(tmp_path / "a.wav", channels, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path), channels.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23)])
def test_load_scales_integers(tmp_path: Path, subtype: str, step: float) -> None:
    path = write(tmp_path / "a.wav", tone(), subtype=subtype)
    np.testing.assert_allclose(audio.load(path), tone(), atol=2 * step)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_load_keeps_float_values_beyond_one(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "a.wav", 5 * tone(), subtype=subtype)
    np.testing.assert_allclose(audio.load(path), 5 * tone(), rtol=1e-6)


def test_load_does_not_depend_on_the_size_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).standard_normal((30000, 2)).astype(np.float32) / 10
    path = write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    whole = audio.load(path, 16000)
    monkeypatch.setattr(decoding, "_BLOCK", 1000)
    np.testing.assert_allclose(audio.load(path, 16000), whole, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 16000, 192000])
def test_load_one_sample(tmp_path: Path, rate: int) -> None:
    waveform = audio.load(write(tmp_path / "a.wav", np.array([0.5]), rate))
    assert 1 <= len(waveform) <= 2
    assert waveform[0] == pytest.approx(0.5, abs=0.1)


def test_load_silence(tmp_path: Path) -> None:
    assert not audio.load(write(tmp_path / "a.wav", np.zeros(1000))).any()


def test_load_only_the_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(2.0, 48000), 48000)
    beginning = audio.load(path, 16000, seconds=0.5)
    assert beginning.shape == (8000,)
    np.testing.assert_allclose(beginning[:7900], audio.load(path, 16000)[:7900], atol=1e-4)
    assert audio.load(path, 16000, seconds=float("inf")).shape == (32000,)
    assert audio.load(path, 16000, seconds=1e-9).shape == (1,)


def test_decode_at_several_rates_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.5, 44100), 44100)
    waveforms = audio.decode(path, [8000, 16000]).waveforms
    for rate in (8000, 16000):
        np.testing.assert_array_equal(waveforms[rate], audio.load(path, rate))


# load: bad files


def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(folder: str) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)  # permissions do not stop whoever runs tests as root
    with pytest.warns(UnreadableFolderWarning, match=r"closed: cannot be looked into \(Permission denied\)"):
        assert audio.find(tmp_path) == [tmp_path / "a.wav"]


def test_load_names_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nothing\.wav: cannot be opened \(No such file"):
        audio.load(tmp_path / "nothing.wav")
    with pytest.raises(AudioError, match=r"is a folder"):
        audio.load(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match=r"not a regular file"):
        audio.load(tmp_path / "pipe.wav")
    for impossible in ("a\0b.wav", "x" * 5000):
        with pytest.raises(AudioError, match=r"cannot be opened"):
            audio.load(impossible)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "raw", "txt", ""])
def test_load_names_what_is_no_audio(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.touch()
    with pytest.raises(AudioError, match=r"a\..*: the file is empty \(0 bytes\)"):
        audio.load(path)
    path.write_text("This is not a sound at all. " * 40)
    with pytest.raises(AudioError, match=r"a\..*: not readable as audio \("):
        audio.load(path)


def test_load_of_a_header_without_samples(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"a\.wav: holds no audio samples"):
        audio.load(write(tmp_path / "a.wav", np.zeros(0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_load_refuses_samples_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    samples = tone()
    samples[4000] = bad
    with pytest.raises(AudioError, match=r"a\.wav: holds NaN or infinite samples"):
        audio.load(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


def test_values_that_overflow_when_resampled(tmp_path: Path) -> None:
    samples = np.sign(tone(0.5, 8000)) * np.float32(3.4e38)
    with pytest.raises(AudioError, match=r"a\.wav: resampled, it holds NaN or infinite samples"):
        audio.load(write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT"), 16000)
    with pytest.raises(AudioError, match=r"the resampled waveform holds NaN or infinite samples"):
        audio.prepare(samples, 8000, 16000)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "w64", "mp3"])
def test_load_uses_a_truncated_file_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(2.0))
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    with pytest.warns(audio.TruncatedAudioWarning, match=rf"a\.{suffix}: seems to be cut short; its first"):
        waveform = audio.load(path)
    assert 0.4 * 32000 < len(waveform) < 0.7 * 32000
    np.testing.assert_allclose(waveform[2000:10000], tone(2.0)[2000:10000], atol=0.1 if suffix == "mp3" else 1e-4)


def test_load_of_a_truncated_ogg(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 80000)
    path = write(tmp_path / "a.ogg", noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.8 * len(whole))])
    with pytest.warns(audio.TruncatedAudioWarning, match=r"cut short"):
        assert 0 < len(audio.load(path)) < 80000
    path.write_bytes(whole[:6000])  # the headers, and a part of the first page of sound
    with pytest.raises(AudioError, match=r"a\.ogg: "):
        audio.load(path)


def test_no_word_of_truncation_where_the_rest_is_not_wanted_or_a_length_was_never_known(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(2.0))
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    assert len(audio.load(path, seconds=0.1)) == 1600
    path = write(tmp_path / "a.wav", tone())
    header = bytearray(path.read_bytes())
    header[40:44] = header[4:8] = b"\xff\xff\xff\xff"  # what a program writes that streams into a pipe
    path.write_bytes(header)
    assert len(audio.load(path)) == 8000


def test_load_refuses_an_impossible_rate(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"sample rate of 3 Hz"):
        audio.load(write(tmp_path / "a.wav", tone(), 3))


def test_load_raises_nothing_but_audio_errors(tmp_path: Path) -> None:
    """Random bytes and damaged headers of every format: a waveform or an AudioError, nothing else."""
    random = np.random.default_rng(0)
    originals = [
        (suffix, write(tmp_path / f"a.{suffix}", tone(0.3), **FORMATS[suffix]).read_bytes()) for suffix in FORMATS
    ]
    said = []
    for number in range(240):
        suffix, original = originals[number % len(originals)]
        if number % 5 == 0:
            data = bytearray(random.bytes(int(random.integers(1, 3000))))
        else:
            data = bytearray(original[: int(random.integers(1, len(original) + 1))])
        for _ in range(int(random.integers(0, 10))):
            place = int(random.integers(0, min(len(data), 200)))
            data[place] = random.choice([0, 127, 128, 255, int(random.integers(256))])
        path = tmp_path / f"fuzz.{suffix}"
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", audio.TruncatedAudioWarning)
                waveform = audio.load(path, 16000)
        except AudioError as error:
            said.append(str(error))
        else:
            assert waveform.ndim == 1
            assert len(waveform) > 0
            assert np.isfinite(waveform).all()
    assert 40 < len(said) < 240
    assert all(": " in sentence and str(tmp_path) in sentence for sentence in said)


@pytest.mark.parametrize("trouble", [OSError(5, "Input/output error"), MemoryError(), soundfile.LibsndfileError(2)])
@pytest.mark.parametrize("reads", [0, 1])
def test_a_failure_of_the_machine_is_no_file_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception, reads: int
) -> None:
    path = write(tmp_path / "a.wav", tone(2.0))
    original, done = soundfile.SoundFile.read, []

    def read(self: soundfile.SoundFile, *arguments: object, **more: object) -> object:
        done.append(1)
        if len(done) > reads:
            raise trouble
        return original(self, *arguments, **more)

    monkeypatch.setattr(decoding, "_BLOCK", 1024)
    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    with pytest.raises(
        AudioError, match=r"a\.wav: could not be read \((Input/output error|MemoryError|System error)\)"
    ) as raised:
        audio.decode(path, [16000])
    assert isinstance(raised.value.__cause__, (OSError, MemoryError))


# prepare


def test_prepare_channels_first() -> None:
    left, right = tone(), -0.2 * tone(frequency=1000)
    np.testing.assert_allclose(audio.prepare(np.stack([left, right]), 16000, 16000), (left + right) / 2, atol=1e-6)
    np.testing.assert_array_equal(audio.prepare(left, 16000, 16000), left)
    np.testing.assert_array_equal(audio.prepare(left[None], 16000, 16000), left)
    assert audio.prepare(np.full((8, 1), 0.5), 16000, 16000).tolist() == [0.5] * 8, "a column"


@pytest.mark.parametrize("shape", [(16000, 16), (100, 16000), (9, 3), (8, 8), (2, 3, 4), ()])
def test_prepare_refuses_ambiguous_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match=r"shape \(.*\(channels, samples\)"):
        audio.prepare(np.zeros(shape), 16000, 16000)


def test_prepare_resamples_as_load_does(tmp_path: Path) -> None:
    samples = tone(0.5, 44100)
    loaded = audio.load(write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT"), 16000)
    np.testing.assert_allclose(audio.prepare(samples, 44100, 16000), loaded, atol=1e-6)
    np.testing.assert_allclose(audio.prepare(torch.from_numpy(samples), 44100.0, 16000), loaded, atol=1e-6)
    assert len(audio.prepare([0.5], 192000, 16000)) == 1
    backwards = np.repeat(samples, 2)[::-2]
    np.testing.assert_allclose(audio.prepare(backwards, 44100, 16000), audio.prepare(backwards.copy(), 44100, 16000))


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint8", "uint16"])
def test_prepare_scales_integers(kind: str) -> None:
    limits = np.iinfo(kind)
    middle = (int(limits.max) + int(limits.min) + 1) // 2
    scaled = audio.prepare(np.array([limits.min, middle, limits.max], dtype=kind), 16000, 16000)
    np.testing.assert_allclose(scaled, [-1, 0, 1], atol=2.0 ** (1 - limits.bits) + 1e-7)


def test_prepare_reads_tensors_of_any_precision() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        given = torch.tensor([0.5, -0.25], dtype=dtype, requires_grad=True)
        assert audio.prepare(given, 16000, 16000).tolist() == [0.5, -0.25]
    assert audio.prepare(torch.tensor([16384], dtype=torch.int16), 16000, 16000).tolist() == [0.5]


@pytest.mark.parametrize(
    ("waveform", "said"),
    [
        (np.zeros(0), "empty"),
        (np.zeros((2, 0)), "empty"),
        (np.array([0, np.nan]), "NaN"),
        (np.array([0, np.inf]), "NaN or infinite"),
        (np.array([0, 1e300]), "NaN or infinite"),
        (np.array([1, 2, 3]), "int64 has no agreed full scale"),
        (np.array([1j]), "complex128"),
        (np.array([True]), "bool"),
        ([[1.0, 2.0], [3.0]], "not an array of numbers"),
        ("a.wav", "type <U5"),
        (None, "type object"),
    ],
)
def test_prepare_says_what_is_wrong(waveform: object, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        audio.prepare(waveform, 16000, 16000)


@pytest.mark.parametrize("rate", [0, -16000, 16, 1e9, float("nan"), float("inf"), "16000", None, True, 2j])
def test_sample_rates_are_checked(tmp_path: Path, rate: object) -> None:
    path = write(tmp_path / "a.wav", tone())
    for call in (
        lambda: audio.prepare(tone(), rate, 16000),
        lambda: audio.prepare(tone(), 16000, rate),
        lambda: audio.load(path, rate),
    ):
        with pytest.raises(SoundalikeError, match=r"the sample rate is"):
            call()


def test_seconds_are_checked(tmp_path: Path) -> None:
    for seconds in (0, -1, float("nan")):
        with pytest.raises(SoundalikeError, match=r"seconds is"):
            audio.load(write(tmp_path / "a.wav", tone()), seconds=seconds)


# every kind of file that a requirement names: format and subtype, rate and channels

KINDS = {
    "wav": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"),
    "flac": ("PCM_S8", "PCM_16", "PCM_24"),
    "aiff": ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    "au": ("PCM_16", "FLOAT"),
    "caf": ("PCM_16", "FLOAT", "ALAC_16"),
    "ogg": ("VORBIS", "OPUS"),
    "mp3": ("MPEG_LAYER_III",),
}
COARSE = {"ULAW": 0.02, "IMA_ADPCM": 0.05, "PCM_U8": 0.02, "PCM_S8": 0.02}


@pytest.mark.parametrize(("suffix", "subtype"), [(suffix, kind) for suffix, kinds in KINDS.items() for kind in kinds])
def test_load_reads_every_subtype(tmp_path: Path, suffix: str, subtype: str) -> None:
    waveform = audio.load(write(tmp_path / f"a.{suffix}", tone(), subtype=subtype))
    assert 8000 <= len(waveform) < (8600 if "ADPCM" in subtype else 8001)  # whose blocks are filled up
    tolerance = COARSE.get(subtype, 0.1 if suffix in LOSSY else 1e-4)
    inner = slice(50 if "ADPCM" in subtype else 0, 7500)  # which takes a moment to follow
    np.testing.assert_allclose(waveform[inner], tone()[inner], atol=tolerance)


@pytest.mark.parametrize("rate", [7350, 11025, 12345, 37800, 192000])
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_load_of_odd_rates_and_channel_counts(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    samples = tone(0.3, rate)[:, None] * np.linspace(0.5, 1.5, channels)  # whose mean is 1, or 0.5 where there is one
    waveform = audio.load(write(tmp_path / f"a.{suffix}", samples, rate))
    assert abs(len(waveform) - 4800) <= 1
    expected = tone(0.3) * (0.5 if channels == 1 else 1.0)
    np.testing.assert_allclose(waveform[500:4300], expected[500:4300], atol=2e-3)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_load_of_silence_and_constants(tmp_path: Path, suffix: str, rate: int, value: float) -> None:
    waveform = audio.load(write(tmp_path / f"a.{suffix}", np.full(rate, value), rate))
    assert abs(len(waveform) - 16000) <= 1
    np.testing.assert_allclose(waveform[2000:14000], value, atol=0.1 if suffix in LOSSY else 1e-3)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_load_of_a_clipped_sound(tmp_path: Path, suffix: str) -> None:
    clipped = np.clip(8 * tone(), -1, 1)
    waveform = audio.load(write(tmp_path / f"a.{suffix}", clipped))
    np.testing.assert_allclose(waveform, clipped, atol=1e-4)
    resampled = audio.load(tmp_path / f"a.{suffix}", 11025)
    assert np.isfinite(resampled).all()
    assert np.abs(resampled).max() < 1.5


@pytest.mark.parametrize("inside", ["wav", "flac", "ogg", "aiff"])
@pytest.mark.parametrize("outside", ["wav", "mp3", "flac", "txt", "raw", "jpg"])
def test_load_goes_by_the_contents_and_not_by_the_name(tmp_path: Path, inside: str, outside: str) -> None:
    path = write(tmp_path / f"right.{inside}", tone()).rename(tmp_path / f"wrong.{outside}")
    np.testing.assert_allclose(audio.load(path)[:7500], tone()[:7500], atol=0.1)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="whom no permission stops")
def test_load_of_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    path.chmod(0)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be opened \(Permission denied\)"):
        audio.load(path)
