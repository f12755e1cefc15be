"""What a file is by its name and its first bytes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SUFFIXES = (
    ".aif",
    ".aifc",
    ".aiff",
    ".au",
    ".caf",
    ".flac",
    ".mp3",
    ".oga",
    ".ogg",
    ".opus",
    ".rf64",
    ".snd",
    ".w64",
    ".wav",
)
"""Of the files of a folder that are read."""
WITH_EXTRA = (".3gp", ".aac", ".amr", ".ape", ".m4a", ".m4b", ".mka", ".mp4", ".tta", ".webm", ".wma", ".wv")
"""Of those that are read besides, where the extra ``formats`` is installed."""
# Of sounds and films that are not looked for, and of files that are neither; of others the first bytes tell.
# fmt: off
_OTHERS = {
    ".3g2", ".3ga", ".ac3", ".adts", ".avi", ".bwf", ".dff", ".dsf", ".dts", ".eac3", ".flv", ".gsm", ".mkv",
    ".mov", ".mp1", ".mp2", ".mpa", ".mpc", ".mpeg", ".mpg", ".mpga", ".oma", ".ogv", ".ra", ".rm", ".shn", ".spx",
    ".tak", ".voc", ".wave", ".weba", ".wmv", ".xwma",
}
# fmt: on
# fmt: off
_NO_SOUNDS = {
    ".asd", ".bat", ".bmp", ".csv", ".db", ".doc", ".docx", ".gif", ".gz", ".h5", ".hdf5", ".htm", ".html", ".ini",
    ".ipynb", ".jpeg", ".jpg", ".json", ".jsonl", ".lab", ".log", ".md", ".mid", ".midi", ".ndjson", ".npy", ".npz",
    ".parquet", ".pdf", ".pickle", ".pkl", ".png", ".py", ".rar", ".rst", ".safetensors", ".sh", ".sqlite", ".svg",
    ".tar", ".textgrid", ".tif", ".tiff", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip",
}
# fmt: on
_HEAD = 64  # bytes that tell what a file is


def suffixes() -> tuple[str, ...]:
    """Those of the files of a folder that are read here."""
    return SUFFIXES + WITH_EXTRA if extra_is_there() else SUFFIXES


def extra_is_there() -> bool:
    """Whether the extra ``formats`` is installed."""
    return importlib.util.find_spec("av") is not None


def is_left_out(name: str, path: str | Path) -> bool:
    """Whether a file that is not read, by its suffix, is a sound or a film all the same.

    Args:
        name: of the file.
        path: of the file, whose first bytes are read where the name does not tell.
    """
    suffix = Path(name).suffix.lower()
    if suffix in WITH_EXTRA or suffix in _OTHERS:
        return True
    if suffix in _NO_SOUNDS:
        return False
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    return kind(head) is not None or head[:4] in (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"caff", b".snd")


def kind(head: bytes) -> str | None:
    """What a file is that needs the extra ``formats``, in words; None where it is no such file.

    Args:
        head: its first 64 bytes.
    """
    if head[4:8] == b"ftyp":
        return "3GP" if head[8:10] == b"3g" else "MP4 (m4a, AAC or ALAC)"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "WebM" if b"webm" in head else "Matroska"
    for magic, name in (
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
        (b"#!AMR", "AMR"),
        (b"wvpk", "WavPack"),
        (b"MAC ", "Monkey's Audio"),
        (b"TTA1", "True Audio"),
        (b"ADIF", "AAC"),
        (b".RMF", "RealAudio"),
        (b"MP+", "Musepack"),
        (b"MPCK", "Musepack"),
        (b"DSD ", "DSD"),
        (b"FRM8", "DSD"),
        (b"tBaK", "TAK"),
        (b"ajkg", "Shorten"),
        (b"\x0b\x77", "AC-3"),
        (b"FLV\x01", "Flash video"),
    ):
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    # of MPEG audio the layer's bits are never 00; of ADTS they always are
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC"
    return None


def advice(name: str) -> str:
    """What would read a file of a kind, as the end of a sentence."""
    if extra_is_there():
        return f"it is {name}, and cannot be decoded"
    return f"it is {name}, which pip install 'soundalike[formats]' reads"
