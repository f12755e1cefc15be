"""YAML of settings: what is read, what is refused, and that what is written is read again."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.core.errors import SoundalikeError
from soundalike.core.yaml_text import NotYAMLError, parse, to_text
from soundalike.model.recipe import Recipe


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E4", 50_000.0),
        ("-2e+1", -20.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1_000.5", 1000.5),
        ("-.inf", -math.inf),
        ("3", 3),
        ("0x10", 16),
        ("1e", "1e"),
        ("1e-3s", "1e-3s"),
        ("1.2.3", "1.2.3"),
        ("nan", "nan"),
        ("-", [None]),
        ("true", True),
        ("off", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-02", "2026-01-02"),  # a folder, far likelier than a day
        ("[a, {b: 1e-3}]", ["a", {"b": 0.001}]),
        ("name: é # comment", {"name": "é"}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_values(text: str, value: Any) -> None:
    found = parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "line 2: found duplicate key a"),
        ("a: &x [1]\nb: *x", "line 2: aliases are not taken: write the value itself"),
        ("a: &x [*x]", "line 1: aliases"),
        ("a: [1", "line 1: expected ',' or ']'"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: could not determine a constructor"),
        ("a: !!set {b}", "line 1: could not determine a constructor"),
        ("? [a, b]\n: 1", "line 1: a key must be a name"),
        ("[" * 1000, "nested too deeply"),
        ("9" * 5000, "digits"),
        ("a\x00b", "unacceptable character"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NotYAMLError, match=r"^[^\n]+$") as raised:
        parse(text)
    assert reason in str(raised.value)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")))
    | st.from_regex(r"[-+]?[0-9._]{1,4}(e[-+]?[0-9]{1,2})?", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_1e", max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(value=values)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert parse(to_text(value)) == value


@settings(max_examples=60, deadline=None)
@given(text=st.text("ae1.:-[]{}!&*?|>'\"%@#,\n \t$", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except NotYAMLError:
        return
    assert parse(to_text(found)) == found
    try:  # what both take, both read alike, but for floats and days
        assert found == yaml.safe_load(text) or "e" in text or "1" in text
    except (yaml.YAMLError, ValueError):
        raise AssertionError(f"{text!r} is no YAML") from None


def test_one_value_twice_is_written_twice() -> None:
    both = [1, 2]
    assert to_text({"a": both, "b": both}) == "a:\n- 1\n- 2\nb:\n- 1\n- 2\n"


@pytest.mark.parametrize("written", ["${oc.env:SECRET}", "$SECRET", "${SECRET}", "${encoder.width}"])
def test_a_recipe_refers_to_nothing(
    written: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Recipe
) -> None:
    monkeypatch.setenv("SECRET", "nobody's business")
    path = tmp_path / "theirs.yaml"
    path.write_text(tiny.to_yaml().replace("start: null", f"start: {written}"), encoding="utf-8")
    recipe = Recipe.load(path)
    assert recipe.training.start == written
    assert "nobody" not in recipe.to_yaml() + str(recipe.to_dict())
    path.write_text(tiny.to_yaml().replace("width: 8", f"width: {written}"), encoding="utf-8")
    with pytest.raises(SoundalikeError, match=r"encoder\.width is '\$.*': give a whole number\."):
        Recipe.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: [1",
            "not a recipe that can be read (line 1: expected ',' or ']', but got '",
        ),
        ("[" * 1000, "not a recipe that can be read (nested too deeply); mend its YAML."),
        ("- a", "not a recipe; give it sections such as"),
        ("word", "not a recipe; give it sections such as"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SoundalikeError, match=f"^{re.escape(f'{path}: {said}')}"):
        Recipe.load(path)


def test_an_empty_recipe_takes_every_default(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert Recipe.load(tmp_path / "mine.yaml") == Recipe("mine", {})
