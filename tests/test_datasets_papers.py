"""The tasks that "Synthetic Audio Doppelgängers" is evaluated on: small copies of their layouts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from dataset_layouts import (
    check,
    check_groups,
    crema_d,
    fsd50k,
    hear,
    libricount,
    vggsound,
    vivae,
    vocal_imitation,
)
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.datasets.table import ACCURACY, MEAN_AVERAGE_PRECISION


def test_crema_d(tmp_path: Path) -> None:
    dataset = datasets.read("crema-d", crema_d(tmp_path))
    assert dataset.classes == ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]
    assert dataset.protocol == "5 folds made by actor (8 actors); there are no official ones"
    assert (len(dataset.clips), len({clip.group for clip in dataset.clips}), dataset.metric) == (96, 8, ACCURACY)
    check(dataset)
    check_groups(dataset)
    with pytest.raises(SoundalikeError, match=r"no folds by actor leave each emotion .*\(1 actors are there\)"):
        datasets.read("crema-d", crema_d(tmp_path / "one", actors=1))


def test_vivae(tmp_path: Path) -> None:
    dataset = datasets.read("vivae", vivae(tmp_path))
    assert (len(dataset.clips), len(dataset.classes)) == (72, 6), "the core set is part of the full one"
    assert dataset.protocol == "3 folds, one speaker held out each"
    assert {path.parent.name for path in dataset.paths} == {"full_set"}
    check(dataset)
    check_groups(dataset)
    with pytest.raises(SoundalikeError, match="at least two speakers are needed, there is only 'S05'"):
        datasets.read("vivae", vivae(tmp_path / "one", ["S05"]))


def test_libricount(tmp_path: Path) -> None:
    dataset = datasets.read("libricount", libricount(tmp_path))
    assert dataset.classes == [f"{count:02}" for count in range(11)]
    assert dataset.protocol == "5 stratified folds, since there is no training part; speakers recur in all of them"
    assert {
        path.name.split("_")[0] for path, label in zip(dataset.paths, dataset.labels, strict=True) if label == "10"
    } == {"10"}
    check(dataset)
    with pytest.raises(SoundalikeError, match="at least two mixtures of 0 speakers are needed"):
        datasets.read("libricount", libricount(tmp_path / "few", each=1))


def test_vocal_imitation(tmp_path: Path) -> None:
    dataset = datasets.read("vocal-imitation", vocal_imitation(tmp_path))
    assert len(dataset.clips) == 35, "what was judged to be no imitation is left out"
    assert dataset.classes == [f"{sound:03}_reference" for sound in range(4)]
    assert dataset.protocol.startswith("3 folds made by participant (9 participants); there are no official ones")
    assert dataset.metric == MEAN_AVERAGE_PRECISION
    check(dataset)
    check_groups(dataset)
    (tmp_path / "vocal_imitations.txt").write_text("imitation_id\timitation_filename\n1\ta.wav\n")
    with pytest.raises(SoundalikeError, match=r"vocal_imitations\.txt: no column 'reference_filename'"):
        datasets.read("vocal-imitation", tmp_path)


def test_fsd50k_has_several_labels_a_clip(tmp_path: Path) -> None:
    dataset = datasets.read("fsd50k", fsd50k(tmp_path))
    assert dataset.several
    assert dataset.metric == MEAN_AVERAGE_PRECISION
    assert dataset.classes == ["Animal", "Bark", "Dog", "Meow", "Rain"]
    assert dataset.protocol == "official train / validation / test lists (5 of the 200 classes)"
    assert Counter(clip.split for clip in dataset.clips) == {"train": 20, "validation": 10, "test": 9}
    assert dataset.targets[:4].astype(int).tolist() == [
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [1, 0, 1, 0, 0],
    ]
    assert dataset.labels[:4].tolist() == ["Bark", "Meow", "Rain", "Dog"], "the first label, the most particular one"
    assert len({clip.group for clip in dataset.clips}) == 7
    check(dataset)
    # rows keep their labels where others are left out
    fewer = dataset.drop([0, 2])
    assert fewer.several
    assert fewer.targets[:2].tolist() == dataset.targets[[1, 3]].tolist()


def test_fsd50k_without_metadata_or_clips(tmp_path: Path) -> None:
    dataset = datasets.read("fsd50k", fsd50k(tmp_path, metadata=False))
    assert len({clip.group for clip in dataset.clips}) == 39
    for path in dataset.paths[:5]:
        path.unlink()
    assert datasets.read("fsd50k", tmp_path).missing == 5
    source = tmp_path / "FSD50K.ground_truth" / "dev.csv"
    source.write_text(source.read_text().replace(",train", ",trian"))
    with pytest.raises(SoundalikeError, match=r"dev\.csv: clip 1006 has split 'trian': train or val is needed"):
        datasets.read("fsd50k", tmp_path)


def test_vggsound_finds_clips_by_video_and_second(tmp_path: Path) -> None:
    dataset = datasets.read("vggsound", vggsound(tmp_path))
    assert dataset.classes == ["dog barking", "playing violin, fiddle"]
    assert (len(dataset.clips), dataset.missing) == (10, 2)
    assert dataset.protocol == "official train / test lists (2 of the 309 classes)"
    assert [path.name for path in dataset.paths[-2:]] == ["video08_0_10000.wav", "video09.flac"]
    check(dataset)
    check_groups(dataset)
    (tmp_path / "vggsound.csv").write_text("video01,30,dog,train\nvideo02,soon,dog,train\n")
    with pytest.raises(SoundalikeError, match=r"vggsound\.csv: row 2 is not a video, a second, a label"):
        datasets.read("vggsound", tmp_path)


def test_hear_with_lists(tmp_path: Path) -> None:
    dataset = datasets.read("hear", hear(tmp_path))
    assert dataset.name == "nsynth_pitch 5h (HEAR)"
    assert dataset.protocol == "HEAR's train / validation / test lists"
    assert dataset.classes == ["60", "61", "62"]
    assert dataset.metric == ACCURACY
    assert {path.parent.parent.name for path in dataset.paths} == {"48000"}, "the highest rate"
    check(dataset)


def test_hear_with_folds_and_several_labels(tmp_path: Path) -> None:
    dataset = datasets.read("hear", hear(tmp_path, "multilabel", ("fold00", "fold01", "fold02")))
    assert dataset.protocol == "HEAR's 3 folds"
    assert dataset.classes == ["60", "61", "62", "90"]
    assert dataset.several
    check(dataset)
    for number, split in enumerate(dataset.splits()):
        assert {dataset.paths[row].parent.name for row in split.test} == {f"fold0{number}"}


def test_hear_scores_as_hear_scores(tmp_path: Path) -> None:
    retrieval = datasets.read(
        "hear", hear(tmp_path / "a", task_name="vocal_imitation", evaluation=["mAP", "top1_acc"])
    )
    assert (retrieval.metric, retrieval.several) == (MEAN_AVERAGE_PRECISION, False)
    other = datasets.read("hear", hear(tmp_path / "b", evaluation=["aucroc"]))
    assert other.metric == ACCURACY
    assert other.protocol.endswith("; HEAR scores it by aucroc")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"embedding_type": "event"}, r"labels at times \(event\), which evaluate does not score"),
        ({"parts": ("train", "valid")}, r"not the lists of a task of HEAR: looked for task_metadata\.json beside"),
    ],
)
def test_hear_refuses(tmp_path: Path, about: dict[str, object], said: str) -> None:
    hear(tmp_path, **about)  # type: ignore[arg-type]
    with pytest.raises(SoundalikeError, match=said):
        datasets.read("hear", tmp_path)


def test_hear_with_damaged_lists(tmp_path: Path) -> None:
    hear(tmp_path)
    (tmp_path / "test.json").write_text("[1, 2]")
    with pytest.raises(SoundalikeError, match=r"test\.json: holds no object"):
        datasets.read("hear", tmp_path)
    (tmp_path / "test.json").write_text(json.dumps({"test0.wav": [60, 61]}))
    with pytest.raises(SoundalikeError, match=r"test\.json: clip 'test0\.wav' has 2 labels"):
        datasets.read("hear", tmp_path)
