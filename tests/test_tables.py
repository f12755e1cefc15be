"""Lists of files from tables, and embeddings as data frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import soundalike
from soundalike.audio.background import Failure
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.data.segments import read_embeddings, read_sounds
from soundalike.data.tables import SUFFIXES
from soundalike.model.embed_files import Embedded, embeddings_frame, save


@pytest.fixture
def embedded() -> Embedded:
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    paths = [Path("a.wav"), Path("folder/é b.wav"), Path("/c.wav")]
    return Embedded(paths, {"model": vectors}, [Failure(Path("broken.wav"), "no audio")], np.array([0, 1, 3]))


# in


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_lists_files_relative_to_its_folder(tmp_path: Path, delimiter: str, mark: str) -> None:
    table = tmp_path / "clips.csv"
    rows = [
        ("label", "path"),
        ("NA", "a.wav"),
        ("2", " é/b c.wav "),
        ("2", "/there/c.wav"),
        ("x", "a.wav"),
        ("", "NA"),
    ]
    table.write_text(mark + "\n".join(delimiter.join(row) for row in rows) + "\n\n", encoding="utf-8")
    there = tmp_path / "a.wav"
    expected = [there, tmp_path / "é/b c.wav", Path("/there/c.wav"), there, tmp_path / "NA"]
    assert read_sounds(table) == expected


def test_a_column_of_another_name(tmp_path: Path) -> None:
    table = tmp_path / "clips.CSV"
    table.write_text('file,note\n"a,b.wav",x\n', encoding="utf-8")
    assert read_sounds(table, "file") == [tmp_path / "a,b.wav"]
    with pytest.raises(SoundalikeError) as error:
        read_sounds(table, "files")
    assert str(error.value) == (f"{table}: the table has no column 'files'; did you mean 'file'? Known: file, note.")


def test_a_parquet_table_and_one_of_tabs(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "vector": [[1, 2], [3]]})
    frame.to_parquet(tmp_path / "clips.parquet")
    frame.to_csv(tmp_path / "clips.tsv", sep="\t", index=False)
    expected = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert read_sounds(tmp_path / "clips.parquet") == expected
    assert read_sounds(tmp_path / "clips.tsv") == expected
    with pytest.raises(SoundalikeError, match=r"no column 'file'; Known: path, vector\.$"):
        read_sounds(tmp_path / "clips.parquet", "file")


def refused(table: Path, column: str | None = None) -> str:
    with pytest.raises(SoundalikeError) as error:
        read_sounds(table, column)
    sentence = str(error.value)
    assert sentence.startswith(f"{table}: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the first line has to name the columns, and it is empty"),
        (b"path,label\n", "has no rows"),
        (b"path,label\na.wav,x\n,y\n", "row 3, column 'path': the cell is empty"),
        (b"path,label\na,b.wav,x\n", "row 2 has 3 cells, and the header 2: put quotes"),
        (b"label,path\nx\n", "row 2, column 'path': the cell is empty"),
        (b"path\n\xff\xfe.wav\n", "not UTF-8"),
        (b"RIFF\x00\x00WAVE\x00\n\x00\x01", "no column 'path'"),
    ],
)
def test_texts_that_are_no_tables_of_files(tmp_path: Path, text: bytes, said: str) -> None:
    table = tmp_path / "clips.csv"
    table.write_bytes(text)
    assert said in refused(table)


def test_files_that_are_no_tables_of_files(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.csv")
    assert "no such file" in refused(tmp_path / "nothing.parquet")
    (tmp_path / "clips.xlsx").touch()
    assert "tables are .csv, .tsv, .jsonl, .ndjson, .npz or .parquet, not '.xlsx'" in refused(tmp_path / "clips.xlsx")
    (tmp_path / "clips.parquet").write_bytes(b"PAR1 and then something else")
    assert "not a table that can be read" in refused(tmp_path / "clips.parquet")
    for cells, said in (
        (["a.wav", None], "row 2, column 'path': the cell is empty"),
        ([1, 2], "holds 1, which is no path"),
    ):
        pd.DataFrame({"path": cells}).to_parquet(tmp_path / "cells.parquet")
        assert said in refused(tmp_path / "cells.parquet")


def test_a_model_embeds_a_column_of_paths(run: Path, tmp_path: Path) -> None:
    model = soundalike.load(run)
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, np.full(3000, 0.1 * number), 16_000)
    expected = model.embed(paths)
    assert expected.shape == (3, model.size)
    names = [str(path) for path in paths]
    frame = pd.DataFrame({"path": names, "at": paths}, index=[5, 7, 9])
    for column in (frame["path"], frame["at"], np.array(names), np.array(paths, object), pd.Index(names)):
        assert np.array_equal(model.embed(column), expected)
    assert np.array_equal(model.embed(path for path in paths), expected)
    assert np.allclose(model.embed(map(str, paths * 30)), np.tile(expected, (30, 1)), rtol=1e-4, atol=1e-5)
    assert model.embed(frame["path"][:0]).shape == (0, model.size)
    assert model.embed(iter([])).shape == (0, model.size)
    wave = pd.Series(np.linspace(-0.5, 0.5, 4000))
    assert np.array_equal(model.embed(wave), model.embed(wave.to_numpy()))
    with pytest.raises(AudioError, match=r"^sound 1: "):
        model.embed(pd.Series([names[0], None]))


# out


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_saved_is_read(embedded: Embedded, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"embeddings{suffix}"
    save(embedded, out, "model")
    paths, vectors = read_embeddings(out)
    assert paths == embedded.paths
    assert np.array_equal(vectors, embedded.vectors["model"])
    assert vectors.dtype == np.float32
    pd.testing.assert_frame_equal(embeddings_frame(out), embeddings_frame(embedded))
    save(Embedded([], {"model": np.zeros((0, 0), np.float32)}, [], np.zeros(0, int)), out, "model")
    assert embeddings_frame(str(out)).shape == (0, 0)


def test_the_frame_has_a_column_for_each_number(embedded: Embedded, tmp_path: Path) -> None:
    frame = embeddings_frame(embedded)
    assert list(frame.columns) == ["e0", "e1", "e2", "e3", "e4"]
    assert frame.index.name == "path"
    assert list(frame.index) == ["a.wav", str(Path("folder/é b.wav")), str(Path("/c.wav"))]
    assert set(frame.dtypes) == {np.dtype(np.float32)}
    assert np.array_equal(frame.to_numpy(), embedded.vectors["model"])
    labels = pd.DataFrame({"path": ["/c.wav", "a.wav"], "label": ["x", "y"]})
    assert labels.join(frame, on="path")["e1"].tolist() == [frame["e1"].iloc[2], frame["e1"].iloc[0]]
    frame.to_parquet(tmp_path / "frame.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "frame.parquet"), frame)


def test_several_embedders(embedded: Embedded) -> None:
    embedded.vectors["logmel"] = np.ones((3, 2), np.float32)
    assert embeddings_frame(embedded, "logmel").shape == (3, 2)
    with pytest.raises(SoundalikeError, match=r"^there are 2 embedders; name one of them\. Known: model, logmel\.$"):
        embeddings_frame(embedded)
    with pytest.raises(SoundalikeError, match=r"^no embedder is called 'models': did you mean 'model'\?"):
        embeddings_frame(embedded, "models")


def test_files_that_hold_no_embeddings(embedded: Embedded, tmp_path: Path) -> None:
    def refuse(source: Path) -> str:
        with pytest.raises(SoundalikeError) as error:
            embeddings_frame(source)
        sentence = str(error.value)
        assert sentence.startswith(f"{source}: ")
        assert sentence.endswith(".")
        return sentence

    assert "no such file" in refuse(tmp_path / "nothing.npz")
    assert "tables are .csv, .tsv, .jsonl, .ndjson, .npz or .parquet, not '.txt'" in refuse(tmp_path / "a.txt")
    for suffix in (".npz", ".parquet"):
        out = tmp_path / f"a{suffix}"
        save(embedded, out, "model")
        whole = out.read_bytes()
        for content in (b"", b"text", whole[: len(whole) // 2]):
            out.write_bytes(content)
            assert "not a table that can be read, or cut short (" in refuse(out)
    np.savez(tmp_path / "other.npz", vectors=np.zeros(3))
    assert "has no column 'path' or 'file'" in refuse(tmp_path / "other.npz")
    np.savez(tmp_path / "other.npz", path=np.array(["a"]), embedding=np.zeros((2, 3)))
    assert "columns of different lengths do not belong together (path (1,), embedding (2, 3))" in refuse(
        tmp_path / "other.npz"
    )
    pd.DataFrame({"path": ["a"]}).to_parquet(tmp_path / "other.parquet")
    assert "has no column 'embedding'; soundalike embed writes it" in refuse(tmp_path / "other.parquet")
    np.savez(tmp_path / "pickle.npz", path=np.array([Path("a")], object), embedding=np.zeros((1, 3)))
    assert "not a table that can be read" in refuse(tmp_path / "pickle.npz")
    pd.DataFrame({"path": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}).to_parquet(tmp_path / "ragged.parquet")
    assert "row 2, column 'embedding': not a list of 1 numbers" in refuse(tmp_path / "ragged.parquet")
