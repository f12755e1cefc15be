"""Large files in pieces that a narrow way back can carry, each with a checksum, and whole again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

PIECE = 15_000_000  # bytes
_MANIFEST = ".pieces.json"


def split(path: Path, folder: Path, size: int = PIECE) -> list[Path]:
    """Copies a file in pieces; those of an earlier copy stay whole until the new ones are complete.

    Args:
        path: file to copy.
        folder: folder for the pieces and their manifest, which names them and says how they are put together.
        size: bytes of a piece at most.

    Returns:
        The pieces, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{path.name}{_MANIFEST}"
    before = {piece["name"] for piece in _read(manifest)["pieces"]} if manifest.is_file() else set()
    pieces, whole = [], hashlib.sha256()
    with path.open("rb") as stream:
        while (content := stream.read(size)) or not pieces:
            whole.update(content)
            digest = hashlib.sha256(content).hexdigest()
            # the checksum is part of the name: pieces of two versions never overwrite one another
            name = f"{path.name}.{len(pieces):02d}.{digest[:8]}"
            _write(folder / name, content)
            pieces.append({"name": name, "bytes": len(content), "sha256": digest})
    joined = " ".join(piece["name"] for piece in pieces)
    told = {"file": path.name, "sha256": whole.hexdigest(), "pieces": pieces, "join": f"cat {joined} > {path.name}"}
    _write(manifest, (json.dumps(told, indent=1) + "\n").encode())
    for name in before - {piece["name"] for piece in pieces}:
        (folder / name).unlink(missing_ok=True)
    return [folder / piece["name"] for piece in pieces]


def join(folder: Path, name: str, target: Path) -> None:
    """Puts a file together from its pieces.

    Args:
        folder: folder with the pieces and their manifest.
        name: name of the file that was split.
        target: file to write.

    Raises:
        ValueError: the manifest or a piece is missing, or a piece has other contents.
    """
    manifest = folder / f"{name}{_MANIFEST}"
    if not manifest.is_file():
        raise ValueError(f"{folder}: there are no pieces of {name} ({manifest.name} is missing).")
    told, content = _read(manifest), b""
    for piece in told["pieces"]:
        path = folder / piece["name"]
        part = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(part).hexdigest() != piece["sha256"]:
            raise ValueError(f"{path}: this piece of {name} is missing or damaged.")
        content += part
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, content)


def _read(manifest: Path) -> dict[str, list[dict[str, str]]]:
    told: dict[str, list[dict[str, str]]] = json.loads(manifest.read_text(encoding="utf-8"))
    return told


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)
