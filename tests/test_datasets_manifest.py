from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_layouts import ROOT, check, check_groups, touch
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.datasets import Dataset, manifest

NAMES = [f"{label}{number}.wav" for label in ("cat", "dog") for number in range(6)]


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    """A table beside twelve files in audio/."""
    touch(folder, [f"audio/{name}" for name in NAMES])
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def table(header: str, *columns: list[str]) -> str:
    """A table with path and label and some more columns, a cell for each of the twelve files."""
    rows = [",".join((f"audio/{name}", name[:3], *more)) for name, *more in zip(NAMES, *columns, strict=True)]
    return "\n".join([header, *rows]) + "\n"


def read(folder: Path, text: str | bytes) -> Dataset:
    return datasets.read("manifest", write(folder, text))


FOLDS = [str(number % 3 + 1) for number in range(12)]
SPLITS = ["train", "train", "validation", "test", "train", "test"] * 2
PLAIN = table("path,label")


def test_folds(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,fold,group", FOLDS, [f"speaker{fold}" for fold in FOLDS]))
    assert (dataset.name, dataset.protocol, dataset.missing) == ("manifest", "3 folds of table.csv", 0)
    assert dataset.classes == ["cat", "dog"]
    check(dataset)
    check_groups(dataset)
    clip = dataset.clips[1]
    assert clip.path == tmp_path / "audio" / "cat1.wav"
    assert (clip.label, clip.fold, clip.group, clip.split) == ("cat", 2, "speaker2", "")


def test_splits(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,split", SPLITS))
    assert dataset.protocol == "train / validation / test split of table.csv"
    assert [clip.split for clip in dataset.clips] == SPLITS
    assert len(np.unique(dataset.groups)) == 12
    check(dataset)


@pytest.mark.parametrize(
    ("word", "split"),
    [
        *[(word, "train") for word in ("train", "Training", " TRAIN ")],
        *[(word, "validation") for word in ("validation", "valid", "val", "Dev")],
        *[(word, "test") for word in ("test", "testing", "eval")],
    ],
)
def test_words_for_splits(tmp_path: Path, word: str, split: str) -> None:
    dataset = read(tmp_path, table("path,label,split", [*SPLITS[:11], word]))
    assert [clip.split for clip in dataset.clips][11] == split


def test_folds_that_begin_at_zero_and_are_no_integers(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,fold", [f"{int(fold) - 1}.0" for fold in FOLDS]))
    assert [clip.fold for clip in dataset.clips] == [int(fold) for fold in FOLDS]
    assert dataset.protocol == "3 folds of table.csv, whose fold 0 is called fold 1 and so on"


def test_made_folds_are_grouped(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,group", list("aabbcc") * 2))
    assert dataset.protocol == "3 folds made of table.csv, grouped by group (3 groups)"
    check(dataset)
    check_groups(dataset)


def test_a_clip_without_a_group_is_one_by_itself(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,group", ["a", "a", "", "", "", ""] * 2))
    assert "grouped by group (9 groups)" in dataset.protocol
    assert len(np.unique(dataset.groups)) == 9
    check_groups(dataset)


def test_made_folds_are_stratified_without_groups(tmp_path: Path) -> None:
    dataset = read(tmp_path, PLAIN)
    assert dataset.protocol == "5 stratified folds made of table.csv"
    for split in dataset.splits():
        assert set(dataset.labels[split.test]) == {"cat", "dog"}
    check(dataset)


def test_copies_stay_together(tmp_path: Path) -> None:
    source = write(tmp_path, PLAIN)
    for name in ("cat0.wav", "cat1.wav"):
        (tmp_path / "audio" / name).write_text("the same")
    dataset = datasets.read("manifest", source)
    assert dataset.protocol == "5 folds made of table.csv, grouped by identical contents (11 groups)"
    assert dataset.clips[0].fold == dataset.clips[1].fold
    for name in NAMES:
        (tmp_path / "audio" / name).write_text(name[:3])
    assert datasets.read("manifest", source).protocol == (
        "5 stratified folds made of table.csv; 12 files have identical twins, which may lie in other folds"
    )


def test_the_order_of_rows_does_not_matter_to_columns(tmp_path: Path) -> None:
    lines = table("path,label,fold", FOLDS).splitlines()
    turned = ["fold,path,label"] + [",".join(np.roll(line.split(","), 1)) for line in lines[1:]]
    expected = read(tmp_path, "\n".join(lines)).clips
    assert read(tmp_path, "\n".join(turned)).clips == expected


@given(
    delimiter=st.sampled_from([",", ";", "\t"]),
    order=st.permutations(["path", "label", "fold", "age"]),
    path=st.sampled_from(["path", "PATH", "file", "filename", "File_Name"]),
    label=st.sampled_from(["label", "Label", "class", "category"]),
    blank=st.sampled_from(["", " ", "  "]),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    quoted=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_dialect(
    tmp_path: Path,
    delimiter: str,
    order: list[str],
    path: str,
    label: str,
    blank: str,
    end: str,
    bom: bool,
    quoted: bool,
) -> None:
    names = {"path": path, "label": label, "fold": "Fold", "age": "age, in years"}
    rows = [names] + [
        {"path": f"audio/{name}", "label": name[:3], "fold": fold, "age": "30; or so"}
        for name, fold in zip(NAMES, FOLDS, strict=True)
    ]

    def cell(text: str) -> str:
        return f'"{blank}{text}{blank}"' if quoted or any(mark in text for mark in ",;") else f"{blank}{text}{blank}"

    text = end.join(delimiter.join(cell(row[column]) for column in order) for row in rows) + end
    dataset = read(tmp_path, text.encode("utf-8-sig" if bom else "utf-8"))
    assert dataset.paths == [tmp_path / "audio" / name for name in NAMES]
    assert dataset.labels.tolist() == ["cat"] * 6 + ["dog"] * 6
    assert [clip.fold for clip in dataset.clips] == [int(fold) for fold in FOLDS]


def test_the_name_itself_goes_before_its_synonyms(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,filename,class,fold", ["x"] * 12, ["y"] * 12, FOLDS))
    assert dataset.classes == ["cat", "dog"]


def test_labels_are_text(tmp_path: Path) -> None:
    text = PLAIN.replace(",cat", ",NA").replace(",dog", ",007").replace("audio/NA", "audio/cat")
    assert read(tmp_path, text).classes == ["007", "NA"]
    assert read(tmp_path, PLAIN.replace(",cat", ',"Käse, ""alt"""')).classes == ['Käse, "alt"', "dog"]


def test_paths_may_be_absolute_or_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, PLAIN)
    (tmp_path / "tables").mkdir()
    text = PLAIN.replace("audio/cat0", f"{tmp_path}/audio/cat0").replace("\naudio", "\n../audio")
    (tmp_path / "tables" / "table.csv").write_text(text)
    monkeypatch.chdir(tmp_path / "tables")
    dataset = datasets.read("manifest", "table.csv")
    assert dataset.missing == 0
    assert dataset.paths == [tmp_path / "audio" / name for name in NAMES]


def test_blank_rows_and_short_rows(tmp_path: Path) -> None:
    text = table("path,label,group", ["a", "b"] * 6).replace(",a\n", ",a,,\n").replace("\n", "\n\n,,\n")
    assert len(read(tmp_path, text).clips) == 12
    text = table("path,label,group", [""] * 12).replace(",\n", "\n")
    assert "stratified" in read(tmp_path, text).protocol


def test_missing_files(tmp_path: Path) -> None:
    source = write(tmp_path, table("path,label,split", SPLITS))
    (tmp_path / "audio" / "cat0.wav").unlink()
    dataset = datasets.read("manifest", source)
    assert (dataset.missing, len(dataset.clips)) == (1, 11)
    check(dataset)
    for name, split in zip(NAMES, SPLITS, strict=True):
        if split == "test":
            (tmp_path / "audio" / name).unlink()
    with pytest.raises(
        SoundalikeError, match=r"column 'split' leaves no clip for test \(5 of its files are missing\)"
    ):
        datasets.read("manifest", source)


def test_all_files_missing(tmp_path: Path) -> None:
    source = write(tmp_path, PLAIN.replace("audio/", "sounds/"))
    where = f"the first one, of row 2, was looked for at {tmp_path}/sounds/cat0.wav: paths are relative to the table's"
    with pytest.raises(SoundalikeError, match=f"none of its 12 files is there; {re.escape(where)}"):
        datasets.read("manifest", source)


def test_rows_that_are_alike_count_once(tmp_path: Path) -> None:
    text = table("path,label,fold", FOLDS)
    dataset = read(tmp_path, text + "audio/../audio/cat0.wav,cat,1\n")
    assert len(dataset.clips) == 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            PLAIN.replace("label", "sound"),
            r"has no column 'label' or 'class' or 'category'; Known: path, sound",
        ),
        (PLAIN.replace("path,", "where,"), r"has no column 'path' or 'file'"),
        (table("path,label,Label", FOLDS), r"duplicate column 'label': columns 2, 3 are 'label' and 'Label'"),
        (table("file,label,filename", FOLDS), r"duplicate column 'path': columns 1, 3 are 'file' and 'filename'"),
        (PLAIN.replace("cat3.wav,cat", "cat3.wav, "), r"row 5, column 'label': the cell is empty; fill it"),
        (PLAIN.replace("audio/cat3.wav", ""), r"row 5, column 'path': the cell is empty; fill it"),
        (
            table("path,label,fold", [*FOLDS[:11], ""]),
            r"row 13, column 'fold': the cell is empty; fill the column in ev",
        ),
        (table("path,label,split", ["", *SPLITS[1:]]), r"row 2, column 'split': the cell is empty; fill"),
        (table("path,label,fold", ["1.5", *FOLDS[1:]]), r"row 2, column 'fold': '1\.5' is not a whole number"),
        (table("path,label,fold", ["-1", *FOLDS[1:]]), r"row 2, column 'fold': '-1' is not a whole number"),
        (table("path,label,fold", [*FOLDS[:5], "one", *FOLDS[6:]]), r"row 7, column 'fold': 'one' is not a whole"),
        (table("path,label,fold", ["1"] * 12), r"column 'fold' has one fold only"),
        (
            table("path,label,split", [*SPLITS[:11], "tset"]),
            r"row 13, column 'split': unknown word 'tset': did you mean 'test'",
        ),
        (table("path,label,split", ["train"] * 12), r"column 'split' leaves no clip for test\."),
        (table("path,label,split", ["val", "test"] * 6), r"column 'split' leaves no clip for train\."),
        (
            table("path,label,fold,split", FOLDS, SPLITS),
            r"both columns 'fold' and 'split' have values \(fold: row 2\)",
        ),
        (PLAIN + "audio/cat0.wav,dog\n", r"rows 2 and 14 list the same file, cat0\.wav, .* 'label': 'cat' and 'dog'"),
        (
            table("path,label,split", SPLITS) + "audio/cat0.wav,cat,test\n",
            r"rows 2 and 14 list the same file, cat0\.wav, .* column 'split': 'train' and 'test'",
        ),
        (
            table("path,label,split,group", SPLITS, [*"0123456789a0"]).replace("\n", "\n\n", 2),
            r"group '0' lies in train and test \(rows 3 and 15\): groups never cross folds",
        ),
        (
            table("path,label,fold,group", FOLDS, ["anna", "bea"] * 6),
            r"group 'anna' lies in folds 1 and 3 \(rows 2 and 4\): groups never cross folds",
        ),
        (PLAIN.replace("cat3.wav,cat", "cat3.wav,a, b"), r"row 5 has 3 cells, and the header 2: put quotes"),
        (PLAIN.replace("audio/cat3.wav", "audio"), r"row 5, column 'path': .*/audio is a folder, not a file"),
        ("path,label\n\n", r"the table has no rows; give one"),
        ("", r"the first line has to name the columns, and it is empty"),
        ("\n" + PLAIN, r"the first line has to name the columns, and it is empty"),
        (PLAIN.encode("utf-16"), r"not UTF-8 text"),
        (b"path,label\n\xe4.wav,x\n", r"not UTF-8 text"),
        (PLAIN.replace("cat3", "x" * 200_000), r"not a table that can be read, or cut short \(field larger"),
        (PLAIN.replace(",dog", ",cat"), r"at least two classes are needed"),
        (
            table("path,label,group", ["anna"] * 6 + list("bcdefg")),
            r"no folds can be made that keep groups together .*\(label 'cat': 1 of 7 groups\): give a column",
        ),
    ],
)
def test_a_bad_table(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(SoundalikeError, match=rf"(table\.csv|manifest): .*{said}") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_label_with_one_clip(tmp_path: Path) -> None:
    touch(tmp_path, ["audio/owl.wav"])
    with pytest.raises(SoundalikeError, match=r"table\.csv: label 'owl' has one clip only"):
        read(tmp_path, PLAIN + "audio/owl.wav,owl\n")


def test_names_that_no_file_can_have_are_missing(tmp_path: Path) -> None:
    assert read(tmp_path, PLAIN + f"audio/{'x' * 5000}.wav,cat\naudio/a\0b.wav,cat\n").missing == 2


def test_empty_columns_are_as_good_as_none(tmp_path: Path) -> None:
    dataset = read(tmp_path, table("path,label,fold,split,group", FOLDS, [""] * 12, [""] * 12))
    assert dataset.protocol == "3 folds of table.csv"


def test_a_group_may_lie_in_train_and_validation(tmp_path: Path) -> None:
    check(read(tmp_path, table("path,label,split,group", SPLITS, ["b" if s == "test" else "a" for s in SPLITS])))


def test_a_folder_with_one_table(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    (tmp_path / "notes.csv").write_text("who,when\nanna,today\n")
    (tmp_path / "binary.csv").write_bytes(b"\x00\xff" * 100)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()
    assert len(datasets.read("manifest", tmp_path).clips) == 12
    (tmp_path / "other.csv").write_text("file;class\na.wav;b\n")
    with pytest.raises(SoundalikeError, match=r"more than one table of clips is in it \(other\.csv, table\.csv\)"):
        datasets.read("manifest", tmp_path)
    with pytest.raises(SoundalikeError, match=r"not the layout of task 'manifest': looked for a table .*directly in"):
        datasets.read("manifest", tmp_path / "audio")


def test_other_tasks_take_no_file(tmp_path: Path) -> None:
    source = write(tmp_path, PLAIN)
    for task in set(datasets.TASKS) - {"manifest"}:
        with pytest.raises(SoundalikeError, match=rf"table\.csv: is not a folder; task '{task}' needs one with "):
            datasets.read(task, source)


def test_a_table_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path, PLAIN)

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SoundalikeError, match=r"table\.csv: cannot be read \(Permission denied\)"):
        datasets.read("manifest", source)


def examples() -> list[str]:
    """The programs in the module's documentation: VocalSound."""
    paragraphs = (manifest.__doc__ or "").split("::\n")[1:]
    programs = []
    for paragraph in paragraphs:
        lines = paragraph.splitlines()
        end = next((at for at, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
        programs.append(textwrap.dedent("\n".join(lines[:end])))
    return programs


def test_how_to_write_a_table_for_vocalsound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = ("cough", "laughter", "sigh", "sneeze", "sniff", "throatclearing")
    for split, speakers in {"tr": ("m0001", "f0002"), "val": ("f0003",), "te": ("m0004", "f0005")}.items():
        names = [f"{speaker}_0_{sound}.wav" for speaker in speakers for sound in sounds]
        touch(tmp_path / "vocalsound" / "audio_16k", names)
        (tmp_path / "vocalsound" / "datafiles").mkdir(exist_ok=True)
        lists = {"data": [{"wav": f"/somewhere/else/{name}", "labels": "/m/01b_21"} for name in names]}
        (tmp_path / "vocalsound" / "datafiles" / f"{split}.json").write_text(json.dumps(lists))
    monkeypatch.chdir(tmp_path)
    exec(examples()[0], {})
    dataset = datasets.read("manifest", "vocalsound")
    assert dataset.classes == list(sounds)
    assert dataset.protocol == "train / validation / test split of vocalsound.csv"
    assert Counter(clip.split for clip in dataset.clips) == {"train": 12, "validation": 6, "test": 12}
    check(dataset)
    check_groups(dataset)


def test_the_table_of_esc_50_is_a_manifest_too(tmp_path: Path) -> None:
    if not (ROOT / "data").is_dir():
        pytest.skip("the repository's data folder is not here")
    header, *rows = (ROOT / "data" / "ESC-10" / "meta" / "esc50.csv").read_text().splitlines()
    source = tmp_path / "esc.csv"
    source.write_text("\n".join([header, *(f"{ROOT}/data/ESC-10/audio/{row}" for row in rows)]))
    esc10, found = datasets.read("esc10", ROOT / "data"), datasets.read("manifest", source)
    assert [replace(clip, group="") for clip in found.clips] == [replace(clip, group="") for clip in esc10.clips]
