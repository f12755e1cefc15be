"""The page on both papers, and the command that repeats what fits a budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.core.errors import SoundalikeError
from soundalike.eval.reproduction import PAPERS, items_of, markdown, said, shares

Cli = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[1] / "docs" / "reproduction.md"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, scale in (("soft", 0.02), ("loud", 0.5)):
        for name in "abcd":
            path = tmp_path / "sounds" / label / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, scale * rng.uniform(-1, 1, 4000), 16_000)
    return tmp_path / "sounds"


def test_the_page_has_every_item() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for paper in PAPERS:
        assert markdown(items_of(paper)) in text, f"write docs/reproduction.md anew: {paper}"


def test_a_budget_goes_to_what_fits() -> None:
    items = items_of("doppelgangers")
    assert shares(items, 1.0) == {"convergence": 1.0}
    assert shares(items, 0.5) == {}
    assert shares(items, 30.0) == {"delta": 15.0, "convergence": 15.0}
    assert shares(items, 90.0) == {"claim": 30.0, "delta": 30.0, "convergence": 30.0}
    assert [item.key for item in items_of("clar", ["labels"])] == ["labels"]
    with pytest.raises(SoundalikeError, match="--only lables: no item of clar: did you mean 'labels'"):
        items_of("clar", ["lables"])


def test_what_a_person_would_type() -> None:
    commands = {item.key: said(item) for item in items_of("doppelgangers")}
    assert commands["claim"] == "soundalike study synthetic-or-real --out OUT --budget MINUTES --task TASK --data DIR"
    assert not any("{" in command for command in commands.values())


def test_what_trains_nothing_is_done_once(sounds: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "out"
    where = ("--task", "folder", "--data", sounds, "--out", out, "--only", "main", "claim", "similarity", "--count", 6)
    command = ("reproduce", "doppelgangers", "--budget", 0.1, *where)
    code, printed, err = cli(*command)
    assert code == 0, err
    assert "similarity: soundalike study similarity --out" in err
    assert printed.splitlines()[-1] == str(out / "reproduction.md")
    page = (out / "reproduction.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| How alike pairs are")]
    assert "δ 0.01: 0." in row
    assert "| not measured | for a GPU |" in page
    assert "| not measured | needs 20 minutes or more |" in page
    before = (out / "similarity" / "similarity.json").stat().st_mtime_ns
    code, _, err = cli(*command)
    assert (code, "soundalike study" in err) == (0, False)
    assert (out / "similarity" / "similarity.json").stat().st_mtime_ns == before


def test_mistakes(sounds: Path, tmp_path: Path, cli: Cli) -> None:
    where = ("--task", "folder", "--data", sounds, "--out", tmp_path / "out")
    for budget, wrong, word in ((0, (), "--budget is 0"), (1, ("--only", "all"), "no item of clar")):
        code, _, err = cli("reproduce", "clar", "--budget", budget, *where, *wrong)
        assert (code, err.count("\n")) == (2, 1)
        assert word in err
    code, _, err = cli(
        "reproduce", "clar", "--budget", 1, "--task", "esc10", "--data", sounds, "--out", tmp_path / "x"
    )
    assert code == 2
    assert not (tmp_path / "x").exists(), "nothing is begun"
