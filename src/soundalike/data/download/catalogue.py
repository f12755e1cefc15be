"""Published data sets: addresses, sizes, licences and checksums, and where each of these is from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from soundalike.core.errors import SoundalikeError, nearest


@dataclass(frozen=True)
class Archive:
    """One archive of a data set.

    Args:
        name: what it is asked for by.
        title: what it holds, in a few words.
        clips: how many recordings.
        tasks: the values of ``--task`` that it serves.
        licence: of the recordings.
        page: where the data set is described.
        address: the official address.
        size: of the archive in bytes.
        exact: whether ``size`` is published to the byte; otherwise it is near.
        unpacked: about how many bytes it unpacks to. Twice as many are taken for a decompression bomb.
        checksum: ``sha256:…`` or ``md5:…``, or None where nobody has published one.
        origin: who published checksum and size.
        folder: where it goes, below the folder for all data sets.
        needs: files and folders by which the top of the data set is told, in the archive and on disk.
        group: the data set that it is one part of, which is also the folder that its tasks are given.
    """

    name: str
    title: str
    clips: int
    tasks: tuple[str, ...]
    licence: str
    page: str
    address: str
    size: int
    exact: bool
    unpacked: int
    checksum: str | None
    origin: str
    folder: str
    needs: tuple[str, ...]
    group: str = ""

    @property
    def file(self) -> str:
        """The name of the archive on disk: unlike the address's, it says what the archive is."""
        return f"{self.folder.rsplit('/', 1)[-1]}.{'zip' if self.address.endswith('.zip') else 'tar.gz'}"


@dataclass(frozen=True)
class ByHand:
    """A data set that has no one archive with a published checksum, so that its user downloads it.

    Args:
        name: what it is called.
        title: what it holds, in a few words.
        clips: how many recordings.
        tasks: the values of ``--task`` that it serves.
        licence: of the recordings.
        page: the official address.
        why: why it is not downloaded.
    """

    name: str
    title: str
    clips: int
    tasks: tuple[str, ...]
    licence: str
    page: str
    why: str


_SPEECH = "CC BY 4.0"
_SPEECH_TASKS = ("speech-commands", "speech-commands-12", "sc09")
_SPEECH_NEEDS = ("validation_list.txt", "testing_list.txt")
_SPEECH_PAGE = "https://arxiv.org/abs/1804.03209"
# The bucket behind download.tensorflow.org and download.magenta.tensorflow.org, which answer without encryption only.
_BUCKETS = "https://storage.googleapis.com"


# The three sizes add up to the download size of NSynth on Hugging Face (jg583/NSynth).
def _nsynth(part: str, notes: int, size: int, unpacked: int, md5: str) -> Archive:
    return Archive(
        name=f"nsynth-{part}",
        title=f"NSynth, the {part} part: notes of instruments, 4 s each",
        clips=notes,
        tasks=("nsynth-family", "nsynth-pitch"),
        licence="CC BY 4.0",
        page="https://magenta.tensorflow.org/datasets/nsynth",
        address=f"{_BUCKETS}/download.magenta.tensorflow.org/datasets/nsynth/nsynth-{part}.jsonwav.tar.gz",
        size=size,
        exact=True,
        unpacked=unpacked,
        checksum=f"md5:{md5}",
        origin="the HEAR benchmark (hearbenchmark/hear-preprocess, hearpreprocess/nsynth_pitch.py)",
        folder=f"nsynth/nsynth-{part}",
        needs=("examples.json", "audio"),
        group="nsynth",
    )


_ALL = (
    Archive(
        name="esc50",
        title="ESC-50 with its subset ESC-10: environmental sounds, 5 s each",
        clips=2_000,
        tasks=("esc10", "esc50"),
        licence="CC BY-NC 3.0 (the clips of ESC-10: CC BY 3.0)",
        page="https://github.com/karolpiczak/ESC-50",
        address="https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
        size=646_000_000,
        exact=False,
        unpacked=900_000_000,
        # of the commit, not of a branch; GitHub makes these archives when they are asked for and does not promise
        # that their bytes stay the same, which is what --no-checksum is for
        checksum="md5:071b44018315e034b2c6e8064543d19c",
        origin="soundata (soundata/soundata, soundata/datasets/esc50.py, since its pull request 209)",
        folder="ESC-50",
        needs=("meta/esc50.csv", "audio"),
    ),
    Archive(
        name="fsdd",
        title="Free Spoken Digit Dataset 1.0.10: English digits by six speakers",
        clips=3_000,
        tasks=("fsdd",),
        licence="CC BY-SA 4.0",
        page="https://github.com/Jakobovski/free-spoken-digit-dataset",
        address="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        size=16_400_000,
        exact=False,
        unpacked=25_000_000,
        # TensorFlow Datasets has one of 1.0.9, which lacks a speaker
        checksum=None,
        origin="none found for version 1.0.10; GitHub makes the archive from the tag",
        folder="free-spoken-digit-dataset",
        needs=("recordings",),
    ),
    Archive(
        name="speech-commands-v1",
        title="Speech Commands 0.01: 30 English words, 1 s each",
        clips=64_727,
        tasks=_SPEECH_TASKS,
        licence=_SPEECH,
        page=_SPEECH_PAGE,
        address=f"{_BUCKETS}/download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        size=1_489_096_277,
        exact=True,
        unpacked=2_150_000_000,
        checksum="sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        origin="torchaudio (torchaudio/datasets/speechcommands.py)",
        folder="speech_commands_v0.01",
        needs=_SPEECH_NEEDS,
    ),
    Archive(
        name="speech-commands-v2",
        title="Speech Commands 0.02: 35 English words, 1 s each",
        clips=105_829,
        tasks=_SPEECH_TASKS,
        licence=_SPEECH,
        page=_SPEECH_PAGE,
        address=f"{_BUCKETS}/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        size=2_428_923_189,
        exact=True,
        unpacked=3_450_000_000,
        checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        origin="torchaudio (torchaudio/datasets/speechcommands.py) and TensorFlow Datasets (checksums of "
        "speech_commands), which agree",
        folder="speech_commands_v0.02",
        needs=_SPEECH_NEEDS,
    ),
    Archive(
        name="urbansound8k",
        title="UrbanSound8K: sounds of a city, at most 4 s each",
        clips=8_732,
        tasks=("urbansound8k",),
        licence="CC BY-NC 3.0 (its record on Zenodo: 4.0)",
        page="https://urbansounddataset.weebly.com/urbansound8k.html",
        address="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz?download=1",
        size=6_023_741_708,
        exact=True,
        unpacked=7_100_000_000,
        checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
        origin="Zenodo (record 1203745), as soundata (soundata/datasets/urbansound8k.py) has it too",
        folder="UrbanSound8K",
        needs=("metadata/UrbanSound8K.csv", "audio"),
    ),
    _nsynth("test", 4_096, 349_501_546, 530_000_000, "5e6f8719bf7e16ad0a00d518b78af77d"),
    _nsynth("valid", 12_678, 1_068_767_009, 1_640_000_000, "87e94a00a19b6dbc99cf6d4c0c0cae87"),
    _nsynth("train", 289_205, 23_815_298_079, 37_300_000_000, "fde6665a93865503ba598b9fac388660"),
)
CATALOGUE: dict[str, Archive] = {archive.name: archive for archive in _ALL}

_BY_HAND = (
    ByHand(
        name="crema-d",
        title="CREMA-D: twelve sentences spoken in six emotions by 91 actors",
        clips=7_442,
        tasks=("crema-d",),
        licence="Open Database License",
        page="https://github.com/CheyneyComputerScience/CREMA-D",
        why="it lies in Git LFS",
    ),
    ByHand(
        name="vivae",
        title="VIVAE: emotions voiced without words, 11 speakers",
        clips=1_085,
        tasks=("vivae",),
        licence="as its page says",
        page="https://zenodo.org/records/4066235",
        why="no checksum of its archive is known to this version",
    ),
    ByHand(
        name="fsd50k",
        title="FSD50K: sounds of Freesound, several labels a clip",
        clips=51_197,
        tasks=("fsd50k",),
        licence="CC BY 4.0 (clips: their own)",
        page="https://zenodo.org/records/4060432",
        why="it is a zip archive in eight parts",
    ),
    ByHand(
        name="vocal-imitation",
        title="Vocal Imitation Set: 302 sounds by voice",
        clips=5_601,
        tasks=("vocal-imitation",),
        licence="as its page says",
        page="https://zenodo.org/records/1340763",
        why="the size of its archive is not known to this version",
    ),
    ByHand(
        name="libricount",
        title="LibriCount: 0 to 10 speakers at once, 5 s each",
        clips=5_720,
        tasks=("libricount",),
        licence="CC BY 4.0",
        page="https://zenodo.org/records/1216072",
        why="the size of its archive is not known to this version",
    ),
    ByHand(
        name="hear",
        title="HEAR: 19 tasks in one layout, such as NSynth pitch 5 h",
        clips=0,
        tasks=("hear",),
        licence="each its own",
        page="https://zenodo.org/records/5887964",
        why="it has an archive for each of its 19 tasks",
    ),
    ByHand(
        name="vggsound",
        title="VGGSound: 10 s each of videos, 309 classes",
        clips=199_176,
        tasks=("vggsound",),
        licence="CC BY 4.0 (the list; each video its own)",
        page="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
        why="only its list is published, and the videos lie elsewhere",
    ),
)
BY_HAND: dict[str, ByHand] = {one.name: one for one in _BY_HAND}


def find(name: str) -> Archive:
    """The archive of that name.

    Raises:
        SoundalikeError: there is none, it comes in parts, or it is downloaded by hand.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if name in BY_HAND:
        one = BY_HAND[name]
        raise SoundalikeError(
            f"{name} is not downloaded by this command, since {one.why}: get it from {one.page} and give its folder "
            f"as --task {one.tasks[0]} --data FOLDER."
        )
    parts = [archive for archive in CATALOGUE.values() if archive.group == name]
    if parts:
        listed = ", ".join(f"{part.name} ({amount(part.size)})" for part in parts)
        raise SoundalikeError(f"{name} comes in parts; give one or several of them: {listed}.")
    known: Iterable[str] = (*CATALOGUE, *BY_HAND)
    raise SoundalikeError(f"unknown data set {name!r}: {nearest(name, known)}")


def amount(count: float) -> str:
    """Bytes as a person reads them: ``16.4 MB``, ``1.07 GB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} bytes"
