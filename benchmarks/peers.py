"""Embedders whose weights come inside a wheel, beside ours, on the development set: accuracy, size and cost.

    pip install --no-deps pyopen-wakeword==1.1.0 Resemblyzer==0.1.4 basic-pitch==0.4.0
    python -m benchmarks.peers ears log-mel speech speaker notes [--data DIR] [--out FILE.csv] [--clips N]

``speech`` is Google's speech_embedding (keywords), ``speaker`` the GE2E speaker encoder of Resemblyzer, ``notes`` the
note tracker Basic Pitch. Each is read in its own way: mean and standard deviation over time of what it gives every
80 ms, the speaker embedding, and those of the posteriors of notes, onsets and contours. Others are an ONNX file or
``module:function``, as for ``soundalike evaluate``. torchcrepe, the other pitch tracker with weights in its wheel,
needs torchaudio and takes no part.

Wheels in a folder of their own (``pip install --target DIR``) are found by ``PYTHONPATH=DIR``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.development.__main__ import load
from benchmarks.development.sets import FOLDS, open_sets
from soundalike.core.errors import SoundalikeError
from soundalike.data.table_writer import check_table, open_table
from soundalike.eval.probe import score
from soundalike.model.embed_files import Embedder
from soundalike.model.outside import FunctionEmbedder, is_outside, load_outside

RATE = 16_000
_CHUNK = 1_280  # samples that speech_embedding takes at once
_NOTES_RATE, _NOTES_WINDOW = 22_050, 43_844  # of Basic Pitch


@dataclass(frozen=True)
class Peer:
    """An embedder on one set.

    Attributes:
        embedder: its name.
        set: name of the set.
        linear: accuracy of the linear probe, in %.
        neighbours: accuracy of the nearest neighbours, in %.
        numbers: width of the embedding.
        megabytes: of its weights; None where it has none, or where they are not known.
        cost: seconds of one core's work per second of sound.
        clips: number of clips.
    """

    embedder: str
    set: str
    linear: float
    neighbours: float
    numbers: int
    megabytes: float | None
    cost: float
    clips: int


def speech(waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Google's speech_embedding: 96 numbers every 80 ms, their mean and standard deviation, (n, 192)."""
    features = _speech()
    found = []
    for waveform in waveforms:
        features.reset()
        features.new_audio_samples = 0  # without the eight seconds of silence that it begins with
        whole = np.pad(waveform, (0, max(RATE - len(waveform), -len(waveform) % _CHUNK)))  # it needs 775 ms
        pcm = (np.clip(whole, -1, 1) * 32_767).astype(np.int16)
        frames = [frame.reshape(-1) for at in range(0, len(pcm), _CHUNK) for frame in _stream(features, pcm, at)]
        found.append(_statistics(np.stack(frames)))
    return np.stack(found)


def _stream(features: Any, pcm: np.ndarray, at: int) -> list[np.ndarray]:
    return list(features.process_streaming(pcm[at : at + _CHUNK].tobytes()))


@cache
def _speech() -> Any:
    from pyopen_wakeword import OpenWakeWordFeatures  # type: ignore[import-not-found]

    return OpenWakeWordFeatures.from_builtin()


def speaker(waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """The speaker embedding of Resemblyzer: the mean over windows of 1.6 s, of length 1, (n, 256)."""
    import librosa
    import torch

    network, project = _speaker()
    found = []
    for waveform in waveforms:
        power = librosa.feature.melspectrogram(y=waveform, sr=RATE, n_fft=400, hop_length=160, n_mels=40)
        frames = torch.from_numpy(power.T.astype(np.float32))  # (T, 40)
        frames = torch.nn.functional.pad(frames, (0, 0, 0, max(0, 160 - len(frames))))
        windows = frames.unfold(0, 160, 77).transpose(1, 2)  # (windows, 160, 40), 1.3 of them a second
        with torch.no_grad():
            _, (hidden, _) = network(windows)
            partial = torch.nn.functional.normalize(project(hidden[-1]).relu(), dim=1)
        found.append(torch.nn.functional.normalize(partial.mean(0), dim=0).numpy())
    return np.stack(found)


@cache
def _speaker() -> Any:
    import torch

    saved = torch.load(_folder("resemblyzer") / "pretrained.pt", map_location="cpu", weights_only=True)["model_state"]
    network, project = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    for part, prefix in ((network, "lstm."), (project, "linear.")):
        part.load_state_dict({key.removeprefix(prefix): saved[key] for key in saved if key.startswith(prefix)})
    return network, project


def notes(waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Posteriors of Basic Pitch for 88 notes, 88 onsets and 264 contours: mean and standard deviation, (n, 880)."""
    session, name = _notes()
    found = []
    for waveform in waveforms:
        count = max(1, -(-len(waveform) // _NOTES_WINDOW))
        windows = np.pad(waveform, (0, count * _NOTES_WINDOW - len(waveform))).reshape(count, _NOTES_WINDOW, 1)
        parts = [output.reshape(-1, output.shape[-1]) for output in session.run(None, {name: windows})]
        frames = np.concatenate(parts, axis=1)  # (frames, 440)
        found.append(_statistics(frames[: max(1, round(len(frames) * len(waveform) / (count * _NOTES_WINDOW)))]))
    return np.stack(found)


notes.sample_rate = _NOTES_RATE  # type: ignore[attr-defined]


@cache
def _notes() -> tuple[Any, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = _folder("basic_pitch") / "saved_models" / "icassp_2022" / "nmp.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].name


def _statistics(frames: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over time, (2 D,)."""
    return np.concatenate([frames.mean(0), frames.std(0)]).astype(np.float32)


def _folder(package: str) -> Path:
    """Where a package lies, without importing it, which would need all that it needs."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SoundalikeError(f"{package} is not installed; python -m benchmarks.peers --help says how it is.")
    return Path(next(iter(spec.submodule_search_locations)))


PEERS: dict[str, tuple[Callable[[Sequence[np.ndarray]], np.ndarray], str, tuple[str, ...]]] = {
    "speech": (speech, "pyopen_wakeword", ("models/melspectrogram.tflite", "models/embedding_model.tflite")),
    "speaker": (speaker, "resemblyzer", ("pretrained.pt",)),
    "notes": (notes, "basic_pitch", ("saved_models/icassp_2022/nmp.onnx",)),
}
"""Name -> function, package, and the files of its weights."""


def embedder_of(name: str) -> tuple[Embedder, float | None]:
    """The embedder of a name, and the megabytes of its weights.

    Raises:
        SoundalikeError: there is none, or its package is not installed.
    """
    if name in PEERS:
        function, package, files = PEERS[name]
        return FunctionEmbedder(function, name), sum((_folder(package) / file).stat().st_size for file in files) / 1e6
    if is_outside(name):
        outside = load_outside(name)
        path = getattr(outside, "path", None)
        return outside, None if path is None else path.stat().st_size / 1e6
    model = load(name)
    weights = getattr(model, "encoder", None)
    return model, None if weights is None else sum(4 * each.numel() for each in weights.parameters()) / 1e6


def measure(name: str, data: Path | None = None, folds: int = FOLDS, clips: int | None = None) -> list[Peer]:
    """An embedder on every set.

    Args:
        name: as `embedder_of` takes it.
        data: folder of the sets; None for ``dev`` in the folder that ``SOUNDALIKE_DATA`` names.
        folds: number of folds, at least 2.
        clips: of each class at most so many, for a trial; None for all.
    """
    embedder, megabytes = embedder_of(name)
    rows = []
    for part in open_sets(data, embedder.sample_rate, folds):
        dataset = part.dataset
        places = np.arange(len(dataset.clips))
        if clips is not None:
            places = np.sort(
                np.concatenate([np.flatnonzero(dataset.labels == one)[:clips] for one in dataset.classes])
            )
            dataset = dataset.select(places)
        lengths = part.recordings.lengths
        sounds = [part.recordings.read(int(place), 0, int(lengths[place])) for place in places]
        started = time.process_time()  # of all threads, so that two threads are not half the cost
        vectors = np.concatenate([embedder(sounds[at : at + 32]) for at in range(0, len(sounds), 32)])
        cost = (time.process_time() - started) / (sum(map(len, sounds)) / embedder.sample_rate)
        found = score(vectors, dataset).probes
        rows.append(
            Peer(
                name,
                part.name,
                100 * found["linear"].mean,
                100 * found["knn"].mean,
                vectors.shape[1],
                megabytes,
                cost,
                len(sounds),
            )
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table, and writes one.

    Returns:
        Exit code: 0, or 2 where the input cannot be used.
    """
    parser = argparse.ArgumentParser(
        "python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("embedders", nargs="+", metavar="EMBEDDER")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the sets (default: dev in $SOUNDALIKE_DATA)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="table to write, such as FILE.csv")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"number of folds (default: {FOLDS})")
    parser.add_argument("--clips", type=int, metavar="N", help="clips of each class at most, for a trial")
    options = parser.parse_args(arguments)
    rows: list[Peer] = []
    try:
        if options.out is not None:
            check_table(options.out)
        print("| embedder | set | clips | linear, % | neighbours, % | numbers | MB | core seconds per second |")
        print("|---|---|---|---|---|---|---|---|")
        for name in options.embedders:
            for row in measure(name, options.data, options.folds, options.clips):
                size = "" if row.megabytes is None else f"{row.megabytes:.1f}"
                print(
                    f"| {row.embedder} | {row.set} | {row.clips} | {row.linear:.1f} | {row.neighbours:.1f} "
                    f"| {row.numbers:,} | {size} | {row.cost:.4f} |",
                    flush=True,
                )
                rows.append(row)
        if options.out is not None:
            with open_table(options.out, [field.name for field in fields(Peer)], whole=True) as writer:
                for row in rows:
                    writer.write(astuple(row))
    except SoundalikeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
