"""Classes whose names are taken for something else, or for each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soundalike.apps.classifier import training_set
from soundalike.core.errors import SoundalikeError


def classes(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir()
        (folder / name / "a.wav").write_bytes(name.encode())
    return folder


@pytest.mark.parametrize("name", ["none of these", "None of these", "none_of_these", "NONE OF  THESE"])
def test_a_class_of_what_belongs_to_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SoundalikeError, match=rf"a class is called '{name}', as sounds are that belong to no class"):
        training_set.read(classes(tmp_path, "dog", name))
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{tmp_path}/dog/a.wav,dog\n{tmp_path}/{name}/a.wav,{name}\n", encoding="utf-8")
    with pytest.raises(SoundalikeError, match="belong to no class"):
        training_set.read(table)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Dog", "dog"), "'Dog' and 'dog' are 2 classes whose names differ in case, blanks or composed letters alone"),
        (("dog", "dog "), "'dog' and 'dog ' are 2 classes"),
        (
            ("caf\u00e9", "cafe\u0301"),
            r"'cafe\u0301' and 'caf\xe9' are 2 classes whose names differ in how letters",
        ),
        (("big_dog", "Big dog", "big dog"), "are 3 classes"),
    ],
)
def test_classes_that_read_the_same_are_named(names: tuple[str, ...], said: str) -> None:
    labels = np.repeat([*names, "cat"], 6)
    (warning,) = training_set.size_warnings(labels)
    assert said in warning
    assert warning.endswith("if they are one, give them one name.")


def test_other_names_are_no_trouble() -> None:
    assert training_set.size_warnings(np.repeat(["dog", "dogs", "d o g", "cat", "none"], 6)) == []
