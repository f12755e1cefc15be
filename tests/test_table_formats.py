"""Every table that a command writes, in every format, read by every command that reads one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from soundalike.apps.search import similarity
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data.segments import read_sounds
from soundalike.data.table_writer import open_table
from soundalike.data.tables import SUFFIXES, columns_in, read_table

RATE = 16_000
CLIPS = 6
Cli = Callable[..., tuple[int, str, str]]
WRITERS = ("embed", "classify", "classify --every", "search", "search --duplicates", "teach --report")


@pytest.fixture(scope="module")
def place(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sounds`` with three recordings each of two classes, the tables of all commands in ``tables``, as a working
    folder that paths are relative to."""
    folder = tmp_path_factory.mktemp("place")
    for label, hertz in (("lów", 200.0), ("high", 2500.0)):
        (folder / "sounds" / label).mkdir(parents=True)
        for number in range(CLIPS // 2):
            time = np.arange(RATE // 2) / RATE
            wave = 0.3 * np.sin(2 * np.pi * hertz * (1 + number / 50) * time) * np.exp(-number * time)
            soundfile.write(folder / "sounds" / label / f"a, {number}.wav", wave, RATE)
    (folder / "sounds" / "high" / "a, 1.wav").write_bytes((folder / "sounds" / "high" / "a, 2.wav").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(similarity, "REFERENCE", 8)
        done("teach", "sounds", "--out", "taught.safetensors", "--model", run)
        done("index", "sounds", "--out", "index", "--model", run)
        names = ("--with", "taught.safetensors")
        for suffix in SUFFIXES:
            out = {writer: table_of(writer, suffix) for writer in WRITERS}
            done("embed", "sounds", "--model", run, "--out", out["embed"])
            done("classify", "sounds", *names, "--none-of-these", 0, "--out", out["classify"])
            done("classify", "sounds", *names, "--every", 0.25, "--all", "--out", out["classify --every"])
            done("search", "sounds/high/a, 2.wav", "--index", "index", "--count", 3, "--out", out["search"])
            done("search", "--duplicates", "--index", "index", "--out", out["search --duplicates"])
        report = [*("teach", "sounds", "--out", "again.safetensors", "--model", run, "--report")]
        for suffix in SUFFIXES:
            done(*report, table_of("teach --report", suffix))
    return folder


def table_of(writer: str, suffix: str) -> Path:
    return Path("tables", writer.replace(" ", "")).with_suffix(suffix)


def done(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0, arguments


@pytest.fixture
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setattr(similarity, "REFERENCE", 8)
    return place


def in_each_format(writer: str) -> list[Path]:
    return [table_of(writer, suffix) for suffix in SUFFIXES]


# the matrix


@pytest.mark.parametrize(
    ("writer", "columns"),
    [
        ("embed", ("path", "embedding")),
        ("classify", ("path", "label", "probability", "distance")),
        ("classify --every", ("path", "start", "end", "label", "probability")),
        ("search", ("query", "rank", "similarity", "path", "identical")),
        ("search --duplicates", ("group", "similarity", "path", "identical")),
        ("teach --report", ("true class", "lów", "high")),
    ],
)
def test_all_formats_hold_the_same(there: Path, writer: str, columns: Sequence[str]) -> None:
    first, *others = [read_table(table, columns, ()) for table in in_each_format(writer)]
    assert len(first.numbers) > 0
    for other in others:
        for column in columns:
            assert list(map(alike, other.columns[column])) == list(map(alike, first.columns[column])), other.source


def alike(cell: Any) -> Any:
    """A cell with its number in one spelling, such as that of 1 and 1.0."""
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.parametrize("writer", WRITERS[:-1])
def test_what_is_written_is_embedded_classified_and_searched_for(
    there: Path, writer: str, run: Path, cli: Cli
) -> None:
    for table in in_each_format(writer):
        count = len(read_sounds(table))
        assert count == {"embed": CLIPS, "classify": CLIPS, "search": 3, "search --duplicates": 2}.get(writer, count)
        assert cli("embed", table, "--model", run, "--out", "e.npz")[:2] == (
            0,
            f"e.npz: {count} embeddings of 640 numbers\n",
        )
    tables = in_each_format(writer)
    code, out, err = cli("classify", *tables, "--with", "taught.safetensors")
    assert (code, len(out.splitlines())) == (0, 1 + count * len(tables)), err
    code, out, err = cli("search", *tables, "--index", "index", "--count", 1)
    assert (code, len(out.splitlines())) == (0, 2 * count * len(tables)), err


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_embedded_is_mapped(there: Path, suffix: str, cli: Cli) -> None:
    code, out, err = cli("map", "sounds", "--embeddings", table_of("embed", suffix), "--out", "map.html", "--link")
    assert code == 0, err
    assert out.startswith(f"map.html: {CLIPS} sounds, ")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_classified_is_taught(there: Path, suffix: str, run: Path, cli: Cli) -> None:
    code, out, err = cli("teach", table_of("classify", suffix), "--out", "t.safetensors", "--model", run)
    assert code == 0, err
    assert "t.safetensors: 2 classes" in out


def test_what_is_classified_is_evaluated(there: Path, run: Path, cli: Cli) -> None:
    data = [argument for table in in_each_format("classify") for argument in ("--task", "manifest", "--data", table)]
    code, _, err = cli("evaluate", run, *data, "--out", "scores", "--probe", "knn")
    assert code == 0, err
    assert "classify.parquet" in Path("scores", "results.json").read_text()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_table_lacks_is_said_in_one_sentence(there: Path, suffix: str, run: Path, cli: Cli) -> None:
    def refused(*arguments: object) -> str:
        code, out, err = cli(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err

    embedded, named, counted = (table_of(writer, suffix) for writer in ("embed", "classify", "teach --report"))
    for table in (embedded, counted):
        assert f"{table}: the table has no column 'label'" in refused("teach", table, "--out", "t.safetensors") or (
            f"{table}: not a table of clips" in refused("teach", table, "--out", "t.safetensors")
        )
    said = f"{named}: the table has no column 'embedding'; soundalike embed writes it; Known: "
    assert said in refused("map", "sounds", "--embeddings", named)
    assert f"{counted}: the table has no column 'path' or 'file' or " in refused(
        "embed", counted, "--model", run, "--out", "e.npz"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_headed_file_and_label_is_read_by_all(place: Path, suffix: str, run: Path, cli: Cli) -> None:
    table = place / f"mine{suffix}"  # relative to its own folder, wherever the command is run
    with open_table(table, ("File", "Class")) as out:
        for path in sorted((place / "sounds").rglob("*.wav")):
            out.write((str(path.relative_to(place)), path.parent.name))
    assert columns_in(table) == {"path", "label"}
    code, said, err = cli("embed", table, "--model", run, "--out", place / "mine-embedded.npz")
    assert (code, said) == (0, f"{place / 'mine-embedded.npz'}: {CLIPS} embeddings of 640 numbers\n"), err
    code, said, err = cli("teach", table, "--out", place / "t.safetensors", "--model", run)
    assert (code, "2 classes" in said) == (0, True), err


# cells


@example(rows=[("a\r.wav", "b\r\nc", [0.0, 0.5, 1.0])], suffix=".csv", whole=False)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip),
            st.none() | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        ),
        min_size=1,
        max_size=4,
    ),
    suffix=st.sampled_from(SUFFIXES),
    whole=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, rows: list[Any], suffix: str, whole: bool) -> None:
    with open_table(tmp_path / f"t{suffix}", ("path", "label", "embedding"), whole=whole, size=3) as table:
        for path, label, vector in rows:
            table.write((path, label, np.array(vector, np.float32)))
    found = read_table(tmp_path / f"t{suffix}", ("path", "label", "embedding"), ("path", "embedding"))
    assert found.columns["path"] == [path.strip() for path, _, _ in rows]
    assert found.columns["label"] == [(label or "").strip() for _, label, _ in rows]
    assert np.array_equal(found.columns["embedding"], np.array([vector for *_, vector in rows], np.float32))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_no_unicode_and_columns_of_any_name(tmp_path: Path, suffix: str) -> None:
    name, columns = os.fsdecode(b"caf\xe9 \xff.wav"), ("path", "file", "self", "allow_pickle", "a/b")
    with open_table(tmp_path / f"t{suffix}", columns) as table:
        table.write((name, 1, None, 0.123456, True))
        table.write(("b.wav", 2, 0.5, None, False))
    found = read_table(tmp_path / f"t{suffix}", columns, ())
    assert found.columns["path"] == [name, "b.wav"]
    assert found.columns["self"] == ["", "0.5"]
    assert found.columns["allow_pickle"] == ["0.1235", ""]
    assert found.columns["a/b"] == ["True", "False"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_paths_are_beside_the_table_or_in_the_working_folder(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tables").mkdir()
    for file in ("both", "here", "tables/both", "tables/there"):
        (tmp_path / file).touch()
    table = tmp_path / "tables" / f"t{suffix}"
    with open_table(table, ("filename",)) as out:
        for name in ("both", "here", "there", "nowhere", str(tmp_path / "here"), "x" * 5000):
            out.write((name,))
    monkeypatch.chdir(tmp_path)
    beside = table.parent
    expected = [beside / "both", Path("here"), beside / "there", beside / "nowhere", tmp_path / "here"]
    assert read_sounds(table) == [*expected, beside / ("x" * 5000)]


# interruptions and mistakes


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson"])
def test_rows_survive_when_the_process_is_killed(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"t{suffix}"
    program = f"""if True:
        import os, signal
        from pathlib import Path
        from soundalike.data.table_writer import open_table
        with open_table(Path({str(out)!r}), ("path", "label")) as table:
            for number in range(3):
                table.write((f"{{number}}.wav", "x"))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGKILL
    assert read_table(out, ("path", "label")).columns == {"path": ["0.wav", "1.wav", "2.wav"], "label": ["x"] * 3}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_whole_table_replaces_the_one_before_or_leaves_it(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"t{suffix}"
    out.write_text("precious")

    def interrupted() -> None:
        with open_table(out, ("path",), whole=True) as table:
            table.write(("a.wav",))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert out.read_text() == "precious"
    assert os.listdir(tmp_path) == [out.name]
    with open_table(out, ("path",), whole=True) as table:
        table.write(("a.wav",))
    assert read_sounds(out) == [tmp_path / "a.wav"]
    assert os.listdir(tmp_path) == [out.name]


def refused(table: Path, *columns: str) -> str:
    with pytest.raises(SoundalikeError) as error:
        read_table(table, columns or ("path",))
    sentence = str(error.value)
    assert sentence.startswith(f"{table}: ")
    assert sentence.endswith((".", "pip install 'soundalike[parquet]'"))  # what a person copies has no full stop
    assert "\n" not in sentence
    return sentence.removeprefix(f"{table}: ")


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"path": "a.wav"}\n{"path": "b.w', "row 2 is not a JSON object, or cut short"),
        ('{"path": "a.wav"}\n\n["b.wav"]\n', "row 3 is not a JSON object"),
        ("[" * 100_000, "row 1 is not a JSON object"),
        ('{"path": "a.wav"}\n{"label": "x"}\n', "row 2, column 'path': the cell is empty; fill it"),
        ('{"path": "a.wav"}\n{"path": 3}\n', "row 2, column 'path': the cell holds 3, which is no path"),
        ('{"sound": "a.wav"}\n', "the table has no column 'path' or 'file' or "),
        ('{"path": "a.wav", "Path": "b.wav"}\n', "duplicate column 'path': columns 1, 2 are 'path' and 'Path'"),
        ("\n", "the table has no rows"),
    ],
)
def test_broken_json_lines(tmp_path: Path, suffix: str, text: str, said: str) -> None:
    (tmp_path / f"t{suffix}").write_text(text, encoding="utf-8")
    assert said in refused(tmp_path / f"t{suffix}")


def test_broken_embeddings(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,e0,e1\na.wav,0.5,1\nb.wav,0.5\n")
    assert "row 3, column 'embedding': not a list of 2 numbers, or cut short" in refused(table, "path", "embedding")
    table = tmp_path / "t.jsonl"
    for cell in ("null", '"text"', "[]", "[[1, 2]]", "3", "[1]"):
        table.write_text('{"path": "a.wav", "embedding": [1, 2]}\n{"path": "b.wav", "embedding": ' + cell + "}\n")
        assert "row 2, column 'embedding': not a list of 2 numbers" in refused(table, "path", "embedding")
    np.savez(tmp_path / "t.npz", path=np.array([["a.wav"]]))
    assert "'path' has shape (1, 1)" in refused(tmp_path / "t.npz")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "t.parquet"
    with open_table(table, ("path", "label")) as out:
        out.write(("a.wav", "x"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused(table).endswith("(pyarrow): pip install 'soundalike[parquet]'")
    assert columns_in(table) == set()


def test_no_module_of_the_tables_knows_the_model() -> None:
    program = "import sys, soundalike.data.table_writer; print([name for name in sys.modules if '.model' in name])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "[]\n"
