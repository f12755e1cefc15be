"""Studies of runs: every run once and for the same time, whatever fails or interrupts; and the paper's study."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import soundalike.train.pretrain
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.eval.study.doppelgangers import DoppelgangerStudy
from soundalike.eval.study.runs import RUNS, STUDY, Run, StudyFolder
from soundalike.model.recipe import Recipe
from soundalike.train.pretrain import pretrain

STEPS = 2


@pytest.fixture(scope="module")
def small(tiny: Recipe) -> Recipe:
    return tiny.override({"encoder.width": 8, "steps": STEPS, "batch_size": 4})


def a_run(delta: float, **more: Any) -> Run:
    return Run({"delta": delta, "seed": 0}, {"views.delta": delta, "seed": 0, **more})


TWO_RUNS = [a_run(0.1), a_run(0.25)]


def scored(path: Path, run: Run) -> dict[str, Any]:
    assert path.is_file()
    return {"delta": run.levels["delta"]}


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("this has been done before")


# ---- the folder of a study


def test_every_run_is_trained_and_scored_once(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study_folder = StudyFolder(tmp_path / "s", "try", small, TWO_RUNS)
    assert study_folder.run(scored, device="cpu") == []
    said = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"0 of 2 runs done: delta 0.1, seed 0", said[0])
    assert re.fullmatch(r"1 of 2 runs done, \d+ min left: delta 0.25, seed 0", said[1])
    record = json.loads((tmp_path / "s" / STUDY).read_text())
    assert [entry["scores"] for entry in record["finished"].values()] == [{"delta": 0.1}, {"delta": 0.25}]
    assert [entry["trained"]["steps"] for entry in record["finished"].values()] == [STEPS, STEPS]
    for run in TWO_RUNS:
        assert (
            Recipe.load(tmp_path / "s" / RUNS / run.slug / "recipe.yaml").sections["views"]["delta"]
            == (run.levels["delta"])
        )
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    again = StudyFolder(tmp_path / "s", "try", small, TWO_RUNS)
    assert again.run(never, device="cpu") == []
    assert [record["scores"]["delta"] for _, record in again.finished] == [0.1, 0.25]


def test_a_failing_run_costs_no_other_and_is_tried_again(small: Recipe, tmp_path: Path) -> None:
    runs = [a_run(0.1, **{"views.augment": ["nonsense"]}), *TWO_RUNS[1:], a_run(0.5)]
    broken = True

    def score(path: Path, run: Run) -> dict[str, Any]:
        if broken and run.levels["delta"] == 0.5:
            raise RuntimeError("out of\nluck")
        return scored(path, run)

    study_folder = StudyFolder(tmp_path / "s", "try", small, runs)
    failed = study_folder.run(score, device="cpu", quiet=True)
    assert [run.levels["delta"] for run, _ in failed] == [0.1, 0.5]
    assert failed[0][1].startswith("unknown augmentation 'nonsense'")
    assert failed[1][1] == "RuntimeError: out of luck"
    assert [run.levels["delta"] for run, _ in study_folder.finished] == [0.25]
    broken = False
    again = StudyFolder(tmp_path / "s", "try", small, runs)
    assert [run.levels["delta"] for run, _ in again.run(score, device="cpu", quiet=True)] == [0.1]
    assert [run.levels["delta"] for run, _ in again.finished] == [0.25, 0.5]


def test_ctrl_c_keeps_what_is_finished_and_the_run_goes_on(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(recipe: Recipe, out: Path, **options: Any) -> Path:
        """As `pretrain` answers Ctrl-C: with a model, too early."""
        early = recipe.sections["views"]["delta"] == 0.25
        return pretrain(recipe.override({"steps": 1}) if early else recipe, out, **options)

    with monkeypatch.context() as patch:
        patch.setattr(soundalike.train.pretrain, "pretrain", interrupted)
        with pytest.raises(KeyboardInterrupt):
            StudyFolder(tmp_path / "s", "try", small, TWO_RUNS).run(scored, device="cpu", quiet=True)
    study_folder = StudyFolder(tmp_path / "s", "try", small, TWO_RUNS)
    assert [run.levels["delta"] for run, _ in study_folder.finished] == [0.1]
    folder = tmp_path / "s" / RUNS / TWO_RUNS[1].slug
    assert study_folder.run(scored, device="cpu", quiet=True) == []
    assert [path.name for path in sorted((folder / "logs").iterdir())] == ["sitting-1", "sitting-2", "timing.json"]
    assert study_folder.finished[1][1]["trained"]["steps"] == STEPS


def test_a_run_that_was_interrupted_while_scoring_is_not_trained_again(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StudyFolder(tmp_path / "s", "try", small, TWO_RUNS[:1]).run(interrupt, device="cpu", quiet=True)
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    assert StudyFolder(tmp_path / "s", "try", small, TWO_RUNS[:1]).run(scored, device="cpu", quiet=True) == []


def test_a_run_without_a_checkpoint_starts_again(small: Recipe, tmp_path: Path) -> None:
    study_folder = StudyFolder(tmp_path / "s", "try", small, TWO_RUNS[:1])
    study_folder.save()
    folder = tmp_path / "s" / RUNS / TWO_RUNS[0].slug
    (folder / "logs").mkdir(parents=True)
    (folder / "recipe.yaml.part").touch()
    assert study_folder.run(scored, device="cpu", quiet=True) == []


def test_the_budget_is_divided_evenly_and_stays(small: Recipe, tmp_path: Path) -> None:
    study_folder = StudyFolder(tmp_path / "s", "try", small, TWO_RUNS, minutes=3)
    assert [recipe.training.minutes for recipe in study_folder.recipes.values()] == [1.5, 1.5]
    assert {recipe.training.steps for recipe in study_folder.recipes.values()} == {None}
    study_folder.save()
    assert json.loads((tmp_path / "s" / STUDY).read_text())["definition"]["minutes_per_run"] == 1.5
    assert study_folder.extra("baseline", lambda: 0.5) == 0.5
    assert StudyFolder(tmp_path / "s", "try", small, TWO_RUNS, minutes=3).extra("baseline", never) == 0.5


def test_shares_of_the_budget(small: Recipe, tmp_path: Path) -> None:
    runs = [a_run(0.1), replace(a_run(0.25), share=0.5)]
    study_folder = StudyFolder(tmp_path / "s", "try", small, runs, minutes=3)
    assert [recipe.training.minutes for recipe in study_folder.recipes.values()] == [2.0, 1.0]
    assert study_folder.state["definition"]["minutes_per_run"] == 2.0
    assert study_folder._time(0, runs, 0.0) == ", 3 min left"
    assert study_folder._time(1, runs, 480.0) == ", 4 min left"  # half of what the first one took
    with pytest.raises(SoundalikeError, match=r"the share of delta 0\.25, seed 0 is 0; give one above 0"):
        StudyFolder(tmp_path / "t", "try", small, [replace(runs[1], share=0)], minutes=3)


def test_a_run_starts_from_an_earlier_one(small: Recipe, tmp_path: Path) -> None:
    runs = [TWO_RUNS[0], replace(TWO_RUNS[1], after=TWO_RUNS[0].slug)]
    study_folder = StudyFolder(tmp_path / "s", "try", small, runs)
    assert study_folder.run(scored, device="cpu", quiet=True) == []
    before = tmp_path / "s" / RUNS / runs[0].slug / "model.safetensors"
    assert Recipe.load(tmp_path / "s" / RUNS / runs[1].slug / "recipe.yaml").training.start == str(before)
    assert str(tmp_path) not in json.dumps(study_folder.state["definition"])
    for wrong in ([*reversed(runs)], runs[1:], [replace(runs[0], after=runs[0].slug)]):
        with pytest.raises(SoundalikeError, match=r"starts from delta-0\.1_seed-0, which is no earlier run"):
            StudyFolder(tmp_path / "t", "try", small, wrong)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"minutes": 4}, "other budget_minutes (3, not 4)"),
        ({"name": "another"}, "other study ('try', not 'another')"),
        ({"runs": TWO_RUNS[:1]}, "other runs (2 of them, not 1)"),
        ({"runs": [TWO_RUNS[0], a_run(0.3)]}, "other runs (levels: delta: 0.25, not 0.3)"),
        ({"recipe": {"batch_size": 16}}, "other recipe (sections: training: batch_size: 4, not 16)"),
        ({"definition": {"tasks": {"a": 1}}}, "other tasks (None, not {'a': 1})"),
    ],
)
def test_another_study_in_the_same_folder(small: Recipe, tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"name": "try", "recipe": small, "runs": TWO_RUNS, "minutes": 3}
    StudyFolder(tmp_path, **given).save()
    if "recipe" in changed:
        changed = {"recipe": small.override(changed["recipe"])}
    with pytest.raises(SoundalikeError, match=rf"holds a study with {re.escape(said)}: repeat the command") as error:
        StudyFolder(tmp_path, **{**given, **changed})
    assert "\n" not in str(error.value)


def test_a_key_that_an_older_version_did_not_have(small: Recipe, tmp_path: Path) -> None:
    study_folder = StudyFolder(tmp_path, "try", small, TWO_RUNS)
    del study_folder.state["definition"]["recipe"]["sections"]["training"]["start"]  # null, and so as good as absent
    study_folder.save()
    StudyFolder(tmp_path, "try", small, TWO_RUNS)
    del study_folder.state["definition"]["recipe"]["sections"]["training"]["seed"]
    study_folder.save()
    with pytest.raises(SoundalikeError, match=r"other recipe \(sections: training: seed: None, not 0\)"):
        StudyFolder(tmp_path, "try", small, TWO_RUNS)


def test_folders_and_settings_that_are_no_study(small: Recipe, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(SoundalikeError, match="not empty and not a study; give a new folder"):
        StudyFolder(tmp_path, "try", small, TWO_RUNS)
    (tmp_path / STUDY).write_text('{"definition": 3}')
    with pytest.raises(SoundalikeError, match="not a study that can be read"):
        StudyFolder(tmp_path, "try", small, TWO_RUNS)
    with pytest.raises(SoundalikeError, match="each of them once"):
        StudyFolder(tmp_path / "s", "try", small, [TWO_RUNS[0]] * 2)
    with pytest.raises(SoundalikeError, match="its budget is 0 minutes"):
        StudyFolder(tmp_path / "s", "try", small, TWO_RUNS, minutes=0)
    with pytest.raises(SoundalikeError, match="unknown recipe key"):
        StudyFolder(tmp_path / "s", "try", small, [a_run(0.1, wiidth=3)])


# ---- δ × voice × augmentation


def test_the_cells_of_the_paper(small: Recipe) -> None:
    runs = DoppelgangerStudy(small, 2).runs()
    assert len(runs) == 2 * (5 * 3 * 2 + 1)
    assert len({run.slug for run in runs}) == len(runs)
    assert [run.levels["seed"] for run in runs] == [0] * 31 + [1] * 31
    control = [run for run in runs if run.levels["pool"] != "fresh"]
    assert [(c.levels["delta"], c.levels["voice"], c.levels["augment"]) for c in control] == [
        (0.25, "voice", "none")
    ] * 2
    for run in runs[:31]:  # every setting fits, and says what its levels say
        sections = small.override(run.overrides).sections
        assert sections["views"]["delta"] == run.levels["delta"]
        assert sections["voice"]["name"] == run.levels["voice"]
        assert sections["views"]["pool"] == (None if run.levels["pool"] == "fresh" else 100_000)
    augmented = next(run for run in runs if run.levels["augment"] == "paper")
    views = small.override(augmented.overrides).build().views
    assert views.augmentation is not None
    assert len(views.augmentation.members) == 5


def test_restricted_levels(small: Recipe) -> None:
    levels: dict[str, Any] = {"delta": [0.1], "voice": ["voice-fm"], "augment": ["paper"]}
    runs = DoppelgangerStudy(small, **levels, pool=[0]).runs()
    assert [run.slug for run in runs] == ["delta-0.1_voice-voice-fm_augment-paper_pool-fresh_seed-0"]
    *_, control = DoppelgangerStudy(small, **levels, pool=[8]).runs()
    assert control.levels == {"delta": 0.1, "voice": "voice-fm", "augment": "paper", "pool": 8, "seed": 0}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes that are easily told apart."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("clips")
    time = np.arange(3200) / 16_000
    for label in ("noise", "tone"):
        (folder / label).mkdir()
        for clip in range(6):
            sounds = {"noise": rng.uniform(-1, 1, 3200), "tone": np.sin(2 * np.pi * rng.uniform(200, 400) * time)}
            soundfile.write(folder / label / f"{clip}.wav", 0.5 * sounds[label], 16_000)
    return folder


@pytest.fixture
def study(small: Recipe, clips: Path, tmp_path: Path) -> Callable[..., int]:
    """The command, with a recipe at 8 kHz, which the paper's low-pass filter does not fit."""
    recipe = tmp_path / "small.yaml"
    recipe.write_text(small.override({"sample_rate": 8_000, "maximum_hz": 3_800}).to_yaml())

    def run(*options: str) -> int:
        given = ["--out", tmp_path / "out", "--recipe", recipe, "--task", "folder", "--data", clips, "--device", "cpu"]
        levels = ["--delta", "0.25", "--voice", "voice", "--pool", "4"]
        return main(["study", "doppelgangers", *map(str, given), *levels, *options])

    return run


def test_the_study_on_the_command_line(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study("--budget", "0.015", "--seeds", "1") == 1  # one of three runs fails
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'report.html'}\n"
    assert "failed: delta 0.25, voice voice, augment paper, pool fresh, seed 0: augmentation 'low-pass': cutoff" in err
    record = json.loads((tmp_path / "out" / STUDY).read_text())
    fresh, pooled = record["finished"].values()
    assert set(record["extra"]) == {"log-mel statistics", "untrained encoder"}
    assert record["definition"]["minutes_per_run"] == pytest.approx(0.005)
    for entry in (fresh, pooled):
        assert {(one["task"], one["reader"]) for one in entry["scores"]["measured"]} == {
            ("folder", "linear probe"),
            ("folder", "knn probe"),
        }
        assert all(0 <= one["accuracy"] <= 1 for one in entry["scores"]["measured"])
        assert entry["trained"]["pairs"] == 4 * entry["trained"]["steps"] > 0
        assert entry["trained"]["seconds"] >= 0.3
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "log-mel statistics" in page
    times = f"{pooled['trained']['steps']:.2g}"
    said = f"A run met {pooled['trained']['pairs']:,} pairs: each of the pool's 4 was seen {times} times."
    assert said in html.unescape(page)
    assert "low-pass" in page
    for picture in ("accuracy.png", "control.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)  # finished runs are not run again
    assert study("--budget", "0.015") == 1
    assert "2 of 3 runs done" in capsys.readouterr().err
    assert study("--budget", "5") == 2
    assert "holds a study with other budget_minutes (0.015, not 5.0)" in capsys.readouterr().err


def test_ctrl_c_ends_the_command(
    study: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupt(*_: Any, **__: Any) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", interrupt)
    assert study("--budget", "1", "--augment", "none") == 130
    assert capsys.readouterr().err.endswith("soundalike: interrupted.\n")
    assert set(json.loads((tmp_path / "out" / STUDY).read_text())["extra"]) == {
        "log-mel statistics",
        "untrained encoder",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "study",
            "study needs a name. Known: vary, doppelgangers, synthetic-or-real, augmentations, frontends, labels, ",
        ),
        ("study doppelganger --out x", "unknown study 'doppelganger': did you mean 'doppelgangers'?"),
        ("study doppelgangers --out x --task folder --data y", "required: --budget"),
        ("study doppelgangers --out x --budget many", "argument --budget"),
        ("study doppelgangers --budget 1 --task folder --data y", "required: --out"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --nonsense", "--nonsense"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --voice voise", "did you mean 'voice'"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --augment papers", "did you mean 'paper'"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --delta 0.1 0.1", "give each level once"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --seeds 0", "--seeds is 0"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --pool 1", "--pool is 1"),
        ("study doppelgangers --out x --budget 1 --task fold --data y", "unknown task 'fold'"),
        ("study doppelgangers --out x --budget 1 --task folder --data y --data z --data z", "1 --task and 3 --data"),
    ],
)
def test_mistakes(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not Path("x").exists()
