"""Packages that not everybody needs: what they are called, which extra installs them, and whether they are there."""

from __future__ import annotations

import importlib.util

from soundalike.core.errors import SoundalikeError

EXTRAS = {
    "lightning": "train",
    "tensorboard": "train",
    "yaml": "train",
    "matplotlib": "train",
    "requests": "data",
    "pyarrow": "parquet",
    "pandas": "pandas",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "av": "formats",
    "starlette": "pages",
    "uvicorn": "pages",
}
"""Extra of ``pip install 'soundalike[…]'`` by the name of a package, as it is imported."""


class MissingPackagesError(SoundalikeError, ImportError):
    """Something was asked for that needs packages of an extra that was not installed."""


def require(what: str, *packages: str) -> None:
    """Makes sure that packages are installed, without importing them.

    Args:
        what: what needs them, for the sentence, such as "soundalike pretrain".
        packages: keys of `EXTRAS`.

    Raises:
        MissingPackagesError: at least one is not; the sentence says which, and what installs them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({EXTRAS[name] for name in missing}))
        raise MissingPackagesError(
            f"{what} needs packages that are not installed ({', '.join(missing)}): pip install 'soundalike[{extras}]'"
        )
