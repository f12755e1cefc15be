"""The page that explains a training step: its names are in the files that it names, and they are short."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \[`[^`]+`\]\(\.\./([^)]+)\) (.+?) \| .+ \| (\d+) \|$", PAGE, re.MULTILINE)


def test_every_name_is_in_its_file() -> None:
    assert len(ROWS) == 10
    for path, names, _ in ROWS:
        code = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`([^`]+)`", names):
            for part in name.split("."):
                assert re.search(rf"^\s*(?:class|def) {part}\b", code, re.MULTILINE), f"{path}: {part}"


def test_a_newcomer_reads_at_most_1500_lines() -> None:
    assert sum(int(lines) for _, _, lines in ROWS) <= 1500
    for path, _, lines in ROWS:  # no more than the file has, and where the whole file is meant, no fewer
        length = len((ROOT / path).read_text(encoding="utf-8").splitlines())
        assert int(lines) <= length + 20
        assert int(lines) > 0


def test_the_places_to_change_exist() -> None:
    for names, path in re.findall(r"`([A-Z]+)` \(`([^`]+)`\)", PAGE):
        code = (ROOT / "src" / "soundalike" / path).read_text(encoding="utf-8")
        assert re.search(rf"^{names}\b.*=", code, re.MULTILINE), f"{path}: {names}"
