"""The command line as a newcomer meets it: on real audio, on broken audio, and with every mistake one can make."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
import soundfile
import torch

import soundalike
from soundalike.cli import main
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES

DATA = Path(__file__).resolve().parent.parent / "data"
RATE = 16_000
Cli = Callable[..., tuple[int, str, str]]

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings that ship with the repository are not here")


@pytest.fixture
def refused(cli: Cli) -> Callable[..., str]:
    """Runs a command that has to be refused with one sentence, and gives the sentence."""

    def run(*arguments: object) -> str:
        code, out, err = cli(*arguments)
        assert (code, out) == (2, ""), err
        assert err.startswith("soundalike: ")
        assert err.count("\n") == 1, err
        assert err.endswith((".\n", "?\n")), err
        return err.removeprefix("soundalike: ").removesuffix("\n")

    return run


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "soundalike", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


def tone(seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


# in a process of its own


def test_help_answers_within_a_second_and_loads_nothing_heavy() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        answer = process("--help")
        assert answer.returncode == 0
        assert answer.stderr == ""
        assert {"pretrain", "embed", "evaluate", "render"} <= set(answer.stdout.split())
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 1
    code = "import sys, soundalike.cli; print(sorted({'torch', 'numpy', 'lightning', 'sklearn'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert answer.stdout == "[]\n", answer.stderr


def test_output_that_nobody_reads_to_its_end() -> None:
    command = [sys.executable, "-m", "soundalike", "pretrain", "--print-recipe"]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    reader.stdout.close()
    assert reader.stderr is not None
    assert reader.stderr.read() == ""
    reader.wait(60)


def test_ctrl_c_while_embedding_and_going_on(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "long.wav", np.tile(tone(1.0), 20), RATE)
    for i in range(3000):
        os.link(folder / "long.wav", folder / f"{i}.wav")
    out_file = tmp_path / "e.npz"
    options = ["embed", str(folder), "--model", str(run), "--out", str(out_file)]
    command = [sys.executable, "-m", "soundalike", *options]
    embedding = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    kept = tmp_path / ".e.npz.partial"
    while not list(kept.glob("*.npz")):
        assert embedding.poll() is None
        time.sleep(0.01)
    embedding.send_signal(signal.SIGINT)
    out, err = embedding.communicate(timeout=60)
    # a shell shows both as 130: CPython ends itself by the signal where it broke off an import of a compiled module
    assert embedding.returncode in (130, -signal.SIGINT)
    assert out == ""
    assert err.splitlines()[-1] == "soundalike: interrupted."
    assert "Traceback" not in err
    assert [path for path in tmp_path.iterdir() if path != folder] == [kept]
    done = sum(len(np.load(lot)["path"]) for lot in kept.glob("*.npz"))

    # the rest would take long: of what was done, some is still wanted, and one file more
    names = [Path(path).name for lot in kept.glob("*.npz") for path in np.load(lot)["path"][:3]]
    (tmp_path / "new.wav").write_bytes((folder / "long.wav").read_bytes())
    wanted = [*(str(folder / name) for name in names), str(tmp_path / "new.wav")]
    again = process("embed", *wanted, *options[2:])
    assert done >= len(names)
    assert (again.returncode, again.stdout) == (0, f"{out_file}: {len(wanted)} embeddings of 640 numbers\n")
    assert f"{len(names)} of {len(wanted)} were embedded before; going on." in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.npz", "new.wav", "sounds"]
    with np.load(out_file) as saved:
        assert saved["path"].tolist() == wanted
        np.testing.assert_allclose(saved["embedding"], saved["embedding"][[-1]].repeat(len(wanted), 0), atol=1e-4)


def test_three_broken_files_of_three_hundred(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "0.wav", tone(0.2), RATE)
    for i in range(1, 300):
        os.link(folder / "0.wav", folder / f"{i}.wav")
    for name, contents in (("7.wav", b""), ("77.wav", b"no sound"), ("277.wav", b"RIFF\x10\0\0\0WAVEfmt ")):
        (folder / name).unlink()
        (folder / name).write_bytes(contents)
    answer = process("embed", folder, "--model", run, "--out", tmp_path / "e.npz")
    assert (answer.returncode, answer.stdout) == (1, f"{tmp_path / 'e.npz'}: 297 embeddings of 640 numbers\n")
    named = re.findall(r"^left out: .*/(\d+)\.wav: .+\.$", answer.stderr, re.MULTILINE)
    assert sorted(named, key=int) == ["7", "77", "277"]
    with np.load(tmp_path / "e.npz") as saved:
        assert sorted(Path(path).name for path in saved["failed_path"]) == ["277.wav", "7.wav", "77.wav"]
        assert all(saved["failed_reason"])
        assert len({Path(path).name for path in saved["path"]} - {"7.wav", "77.wav", "277.wav"}) == 297
    assert [path.name for path in tmp_path.iterdir() if path != folder] == ["e.npz"]


# in general


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"soundalike {soundalike.__version__}\n", "")


def test_no_command_shows_the_usage(cli: Cli) -> None:
    code, out, err = cli()
    assert (code, out) == (2, "")
    assert err.startswith("usage: soundalike ")
    assert "pretrain" in err


@pytest.mark.parametrize("command", ["pretrain", "embed", "evaluate", "render"])
def test_every_command_has_help_and_examples_of_defaults(cli: Cli, command: str) -> None:
    code, out, err = cli(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: soundalike {command}")
    assert "default" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hear",), r"invalid choice: 'hear' .*pretrain.*; see soundalike --help\.$"),
        (("--loud",), r"--loud"),
        (("embed",), r"arguments are required: .*FILE_OR_FOLDER.*; see soundalike embed --help\.$"),
        (("embed", "a.wav", "--model", "m"), r"required: --out; see soundalike embed --help\.$"),
        (("embed", "a.wav", "--model", "", "--out", "e.npz"), r"argument --model: the path is empty"),
        (("embed", "a.wav", "--model", "m", "--out", "e.npz", "--loud"), r"unknown argument '--loud'; see soundalike"),
        (("evaluate", "m", "--task", "esc10"), r"required: --data; see soundalike evaluate --help\.$"),
        (("evaluate", "m", "--data", "d"), r"required: --task"),
        (
            ("evaluate", "m", "--task", "esc10", "--data", "d", "--seed", "-1"),
            r"--seed: -1 is not from 0 to 4294967295",
        ),
        (("evaluate", "m", "--task", "esc10", "--data", "d", "--seed", "x"), r"--seed: 'x' is not a whole number"),
        (("render",), r"required: --out"),
        (("render", "--out", "r", "--count", "1.5"), r"--count: '1\.5' is not a whole number"),
        (("render", "--out", "r", "--delta", "abc"), r"--delta: 'abc' is not a number"),
        (("render", "--out", "r", "--delta"), r"--delta: expected at least one argument"),
        (("render", "--out", "r", "more"), r"unknown argument 'more'"),
        (("pretrain", "--out", "r", "--device", "gpu"), r"--device: invalid choice: 'gpu'"),
        (("pretrain", "--out", ""), r"argument --out: the path is empty"),
    ],
)
def test_bad_arguments(refused: Callable[..., str], arguments: tuple[str, ...], said: str) -> None:
    assert re.search(said, refused(*arguments))


# pretrain


def test_print_recipe_prints_what_would_run(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("pretrain", "--print-recipe", "--recipe", "doppelgangers", "--delta.pitch=0.01", "--steps", 7)
    assert (code, err) == (0, "")
    path = tmp_path / "printed.yaml"
    path.write_text(out, encoding="utf-8")
    printed = Recipe.load(path)
    assert printed == Recipe.load("doppelgangers").override({"delta.pitch": 0.01, "steps": 7})
    assert cli("pretrain", "--recipe", path, "--print-recipe") == (0, out, "")
    assert not (tmp_path / "runs").exists()


def test_the_command_of_the_documentation(cli: Cli) -> None:
    command = "--recipe doppelgangers --minutes 10 --delta 0.25 --voice voice --batch-size 256 --seed 0"
    code, out, _ = cli(
        "pretrain", "--out", "runs/first", *command.split(), "--checkpoint-every", 100, "--print-recipe"
    )
    assert code == 0
    assert {"  minutes: 10", "  delta: 0.25", "  batch_size: 256", "  checkpoint_every: 100", "  pairs: null"} <= set(
        out.splitlines()
    )
    assert not Path("runs/first").exists()


def test_values_are_read_as_yaml_reads_them(cli: Cli) -> None:
    code, out, _ = cli(
        *("pretrain", "--print-recipe", "--milestones", "[0.5,0.9]", "--delta", "{pitch: 0.1, other: 1e-3}"),
        *("--minutes", "null", "--steps=3", "--weight-decay", "1e-6", "--recipe", "doppelgangers"),
    )
    assert code == 0
    for line in ("  - 0.5\n  - 0.9\n", "    pitch: 0.1\n    other: 0.001\n", "minutes: null", "weight_decay: 1.0e-06"):
        assert line in out


def tiny_file(tiny: Recipe, folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(tiny.to_yaml(), encoding="utf-8")
    return path


def test_pretrain_prints_the_model_and_says_how_it_goes(cli: Cli, tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "first"
    start = ("pretrain", "--recipe", tiny_file(tiny, tmp_path), "--out", out, "--device", "cpu")
    code, printed, said = cli(*start, "--steps", 3)
    assert (code, printed) == (0, f"{out / 'model.safetensors'}\n")
    assert re.fullmatch(r"100 %  step 3  loss \d\.\d{3}  [\d.]+ pairs/s  0:00 left\n", said)
    code, printed, said = cli("pretrain", "--out", out, "--resume", "--steps", 5, "--quiet", "--device", "cpu")
    assert (code, printed, said) == (0, f"{out / 'model.safetensors'}\n", "")
    model = soundalike.load(out)
    assert model.training["steps"] == 5
    assert model.recipe.name == tiny.name, "the recipe keeps its name when its run is resumed"


PRETRAIN_MISTAKES = [
    ("--delta 0", r"^delta is 0: give a number above 0 and at most 1, or one for each group\.$"),
    ("--delta 1.5", r"^delta is 1\.5: give"),
    ("--delta -1", r"^delta is -1: give"),
    ("--delta=-1", r"^delta is -1: give"),
    ("--delta nan", r"delta is 'nan': give a number"),
    ("--delta .nan", r"delta is nan: give a number"),
    ("--delta abc", r"delta is 'abc': give a number"),
    ("--delta [0.1", r"delta is '\[0\.1': give a number"),
    ("--delta ${x}", r"delta is '\$\{x\}': give a number"),
    ("--delta ???", r"delta is '\?\?\?': give a number"),
    ("--delta.pich 0.1", r"did you mean 'pitch'\?"),
    ("--families.mouth.delta.room 7", r"^delta\.room is 7: give a number from 0 to 1, or new\.$"),
    ("--families.mouth.wieght 7", r"^views\.families\.mouth has no key 'wieght': did you mean 'weight'"),
    ("--recipe dopelgangers", r"^unknown recipe 'dopelgangers': did you mean 'doppelgangers'"),
    ("--recipe nowhere.yaml", r"^nowhere\.yaml: no such recipe file\.$"),
    ("--recipe=", r"^unknown recipe ''"),
    ("--voice vioce", r"unknown voice 'vioce': did you mean 'voice' or 'voice-fm'\? Known: body"),
    ("--objective ntxent", r"unknown objective 'ntxent': did you mean 'nt-xent'\?"),
    ("--batchsize 8", r"^unknown recipe key 'batchsize': did you mean batch_size"),
    ("--training.stepz 8", r"training has no key 'stepz': did you mean 'steps'\?"),
    ("--size 8", r"^recipe key 'size' is in several sections: write encoder\.size or head\.size\.$"),
    ("--encoder.width.x 8", r"^recipe key encoder\.width holds one value"),
    ("--batch-size 1", r"^training\.batch_size is 1: give at least 2\.$"),
    ("--batch-size 99999999999999999999", r"^training\.batch_size is 9+: give less than 2\*\*63\.$"),
    ("--steps", r"^--steps needs a value, or is no option; see soundalike pretrain --help\.$"),
    ("--steps --delta 0.1", r"^--steps needs a value"),
    ("--steps 0", r"^training\.steps is 0: give at least 1\.$"),
    ("--minutes 0", r"^training\.minutes is 0: give a number above 0\.$"),
    ("--seed x", r"training\.seed is 'x': give a whole number\.$"),
    ("--seed 99999999999999999999999", r"^training\.seed is 9+: give less than 2\*\*63\.$"),
    ("--minutes null", r"^a run needs a length"),
    ("steps 5", r"^unknown argument 'steps': options start with --"),
    ("--encoder.width 0", r"^resnet18: width is 0"),
    ("--encoder.size 1000000000000", r"^not enough memory for this; ask for less"),
    ("--encoder.dimensions 1", r"^encoder\.dimensions is 1: the front end 'logmel' needs 2\.$"),
    ("--=5", r"^unknown recipe key ''"),
    ("--resume", r"holds no run to resume \(recipe\.yaml is missing\); start it without --resume\.$"),
]


@pytest.mark.parametrize(("mistake", "said"), PRETRAIN_MISTAKES, ids=[mistake for mistake, _ in PRETRAIN_MISTAKES])
def test_mistakes_of_pretrain(refused: Callable[..., str], tmp_path: Path, mistake: str, said: str) -> None:
    options = mistake.split(" ", 1)
    if "--delta" in mistake:  # of one voice; ears-cpu has one for each family
        options += ["--recipe", "scenes-cpu"]
    assert re.search(said, refused("pretrain", "--out", tmp_path / "run", "--device", "cpu", *options))
    assert list(tmp_path.iterdir()) == []


def test_pretrain_without_a_folder(refused: Callable[..., str]) -> None:
    assert refused("pretrain") == "pretrain needs a folder for the run; give --out FOLDER."


def test_pretrain_where_it_cannot_write(refused: Callable[..., str], run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert re.search(r"file: a file; give a folder", refused("pretrain", "--out", tmp_path / "file"))
    assert re.search(r"cannot be made a folder", refused("pretrain", "--out", tmp_path / "file" / "run"))
    assert re.search(r"not empty and not a run", refused("pretrain", "--out", tmp_path))
    assert re.search(r"holds a run already .*--resume it\.$", refused("pretrain", "--out", run))
    assert re.search(r"its run has views\.delta", refused("pretrain", "--out", run, "--resume", "--delta", 0.3))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody can write")
def test_places_where_nobody_can_write(refused: Callable[..., str], run: Path, tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    soundfile.write(sound, tone(), RATE)
    assert re.search(r"^/proc/x: cannot be made a folder", refused("pretrain", "--out", "/proc/x"))
    assert re.search(r"^/proc/x: cannot be made a folder", refused("render", "--out", "/proc/x"))
    said = refused("embed", sound, "--model", run, "--out", "/proc/e.npz")
    assert re.search(r"^/proc: not a folder that can be written to \(.*\); give another one\.$", said)


def test_a_warning_is_one_line(cli: Cli, tiny: Recipe, tmp_path: Path) -> None:
    code, _, err = cli("pretrain", "--recipe", tiny_file(tiny, tmp_path), "--frontend.bands", 400, "--print-recipe")
    assert code == 0
    assert re.fullmatch(r"note: logmel: \d+ of 400 mel bands are narrower .*\n", err)


# embed


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder as people have them: all formats, odd names, and files that are broken in every way."""
    folder = tmp_path / "my sounds"
    (folder / "sub folder").mkdir(parents=True)
    for suffix in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(folder / f"tone.{suffix}", tone(), RATE)
    soundfile.write(folder / "sub folder" / "schön laut ♪.WAV", tone(rate=44_100), 44_100, format="WAV")
    soundfile.write(folder / "eight channels.wav", np.stack([tone(rate=192_000)] * 8, axis=1), 192_000)
    soundfile.write(folder / "one sample.wav", tone()[1:2], RATE)
    soundfile.write(folder / "silence.wav", 0 * tone(), RATE)
    shutil.copy(folder / "tone.wav", os.fsdecode(os.fsencode(folder) + b"/latin \xe9.wav"))
    (folder / "cut.wav").write_bytes((folder / "tone.wav").read_bytes()[:9000])
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not a sound")
    Path(os.fsdecode(os.fsencode(folder) + b"/broken \xe9.flac")).write_text("not a sound")
    hole = tone()
    hole[7] = np.nan
    soundfile.write(folder / "nan.wav", hole, RATE, subtype="FLOAT")
    (folder / "notes.txt").write_text("not even tried")
    (folder / ".hidden.wav").write_text("not even tried")
    return folder


ALIKE = {"tone.wav", "tone.flac", "tone.ogg", "tone.mp3", "schön laut ♪.WAV", "eight channels.wav", "latin \udce9.wav"}
WHOLE = ALIKE | {"one sample.wav", "silence.wav", "cut.wav"}
BROKEN = {"empty.wav", "text.wav", "broken \udce9.flac", "nan.wav"}


def check_complaints(err: str) -> None:
    lines = [line for line in err.splitlines() if line.startswith(("note: ", "left out: "))]
    assert len(lines) == 6
    assert re.fullmatch(r"note: .*/cut\.wav: seems to be cut short; its first 0\.28 s are used\.", lines[0])
    assert re.fullmatch(r"note: .*/silence\.wav: is silent\.", lines[1])
    for line, said in zip(
        lines[2:],
        (
            r"broken \\udce9\.flac: not readable as audio \(.*\)\.",
            r"empty\.wav: the file is empty \(0 bytes\)\.",
            r"nan\.wav: holds NaN or infinite samples\.",
            r"text\.wav: not readable as audio \(.*\)\.",
        ),
        strict=True,
    ):
        assert re.fullmatch(rf"left out: .*/{said}", line)
    assert "Traceback" not in err


def test_embed_a_folder_to_npz(cli: Cli, run: Path, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "embeddings.npz"
    code, printed, err = cli("embed", sounds, "--model", run, "--out", out)
    assert (code, printed) == (1, f"{out}: 10 embeddings of 640 numbers\n")
    check_complaints(err)
    with np.load(out, allow_pickle=False) as saved:
        assert {Path(path).name for path in saved["path"]} == WHOLE
        assert {Path(path).name for path in saved["failed_path"]} == BROKEN
        assert all(saved["failed_reason"])
        assert saved["embedding"].shape == (10, 640)
        assert np.isfinite(saved["embedding"]).all()
        rows = {Path(path).name: row for path, row in zip(saved["path"], saved["embedding"], strict=True)}
    expected = soundalike.load(run).embed(sounds / "tone.wav")
    for name in ("tone.wav", "latin \udce9.wav"):
        np.testing.assert_allclose(rows[name], expected, rtol=1e-3, atol=1e-4)
    for name in ALIKE:
        assert rows[name] @ expected > 0.98 * np.linalg.norm(rows[name]) * np.linalg.norm(expected), name


def test_embed_a_folder_to_parquet(cli: Cli, run: Path, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "embeddings.parquet"
    code, printed, err = cli("embed", sounds, "--model", run / "model.safetensors", "--out", out)
    assert (code, printed) == (1, f"{out}: 10 embeddings of 640 numbers\n")
    check_complaints(err)
    table = pyarrow.parquet.read_table(out)
    failed = json.loads(table.schema.metadata[b"soundalike.failures"])
    assert {failure["path"].rpartition("/")[2] for failure in failed} == BROKEN
    assert all(failure["reason"] for failure in failed)
    assert table.num_rows == 10
    assert {len(row) for row in table["embedding"].to_pylist()} == {640}


def test_embed_single_files(cli: Cli, run: Path, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    code, printed, err = cli("embed", sounds / "tone.mp3", sounds / "sub folder", "--model", run, "--out", out)
    assert (code, printed) == (0, f"{out}: 2 embeddings of 640 numbers\n")
    assert err.count("\n") == 1, "the progress"
    # the folder of a run and its file are the same model
    with np.load(out) as saved:
        assert [Path(path).name for path in saved["path"]] == ["tone.mp3", "schön laut ♪.WAV"]


def test_embed_with_the_model_that_ships(cli: Cli, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    size = soundalike.load().size
    for model in ((), ("--model", "ears")):
        code, printed, _ = cli("embed", sounds / "tone.wav", *model, "--out", out)
        assert (code, printed) == (0, f"{out}: 1 embeddings of {size} numbers\n")


def test_embed_only_broken_files(cli: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("not a sound")
    (tmp_path / "b.wav").touch()
    (tmp_path / "e.npz").write_bytes(b"of another day")
    code, printed, err = cli("embed", tmp_path, "--model", run, "--out", tmp_path / "e.npz")
    assert (code, printed) == (2, "")
    assert err.count("left out: ") == 2
    assert err.endswith(
        f"soundalike: none of the 2 files could be embedded, so {tmp_path / 'e.npz'} is not written.\n"
    )
    assert (tmp_path / "e.npz").read_bytes() == b"of another day"


def test_mistakes_of_embed(refused: Callable[..., str], run: Path, sounds: Path, tmp_path: Path) -> None:
    def embed(
        *files: object, model: object = run, out: object = tmp_path / "e.npz", more: tuple[str, ...] = ()
    ) -> str:
        sentence = refused("embed", *files, "--model", model, "--out", out, *more)
        assert not (tmp_path / "e.npz").exists()
        return sentence

    assert embed(tmp_path / "nowhere.wav") == f"{tmp_path / 'nowhere.wav'}: no such file or folder."
    assert embed(sounds / "tone.wav", tmp_path / "nowhere").endswith("nowhere: no such file or folder.")
    (tmp_path / "none").mkdir()
    assert "the folder holds no audio (looked for .aif" in embed(tmp_path / "none")
    assert "no such model file" in embed(sounds, model=tmp_path / "nowhere")
    assert "not a model, or cut short" in embed(sounds, model=sounds / "tone.mp3")
    assert "a folder without model.safetensors" in embed(sounds, model=sounds)
    assert ".npz or .parquet, not '.txt'" in embed(sounds, out=tmp_path / "e.txt")
    (tmp_path / "folder.npz").mkdir()
    assert "is a folder; give the name of a file" in embed(sounds, out=tmp_path / "folder.npz")
    assert "not a folder that can be written to" in embed(sounds, out=sounds / "text.wav" / "e.npz")
    assert "device 'foo': PyTorch cannot use it here" in embed(sounds, more=("--device", "foo"))
    table = tmp_path / "table.parquet"
    table.write_bytes(b"precious")
    assert embed(table, out=table) == f"{table}: is read and would be overwritten; give another place to write to."
    assert table.read_bytes() == b"precious"


def test_a_full_disk_is_one_sentence(
    refused: Callable[..., str], run: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "e.npz")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    code = main(["embed", str(sounds / "tone.wav"), "--model", str(run), "--out", str(tmp_path / "e.npz")])
    assert code == 2
    assert [path.name for path in tmp_path.iterdir()] == [sounds.name]


# evaluate


class Links(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value for name, value in attrs if name in ("src", "href", "xlink:href") and value and value[0] != "#"
        ]


@needs_data
def test_evaluate_on_the_recordings_that_ship(cli: Cli, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    code, printed, err = cli("evaluate", run, "--task", "esc10", "--task", "fsdd", "--data", DATA, "--out", out)
    assert code == 0, err
    assert {path.name for path in out.iterdir()} == {"results.json", "report.html"}
    assert printed.splitlines()[-1] == str(out / "report.html")
    for words in (
        "esc10",
        "80 clips",
        "fsdd",
        "300 clips",
        "model",
        "log-mel statistics (baseline)",
        "linear probe",
        "kNN",
    ):
        assert words in printed, words
    assert printed.count("untrained encoder (baseline)") == 2
    assert "Protocol: 5 official folds." in printed
    assert "Protocol: 6 folds, one speaker held out each." in printed
    assert "Traceback" not in err

    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["representations"] == ["model", "log-mel statistics", "untrained encoder"]
    assert results["recipe"]["training"]["steps"] == 6
    for task in results["tasks"]:
        assert len(task["clips"]) == {"esc10": 80, "fsdd": 300}[task["task"]]
        for representation in results["representations"]:
            for probe in ("linear", "knn"):
                folds = [fold["score"] for fold in task["scores"][representation]["probes"][probe]["folds"]]
                assert len(folds) == {"esc10": 5, "fsdd": 6}[task["task"]]
                assert all(0 <= accuracy <= 1 for accuracy in folds)
                if (task["task"], probe) == ("esc10", "linear"):
                    assert np.mean(folds) > 0.3, f"{representation}: chance is 0.1"

    page = (out / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert [link for link in links.found if not link.startswith("data:")] == []
    assert not re.search(r"@import|url\((?!['\"]?(data:|#))", page)


@pytest.fixture
def classes(sounds: Path, tmp_path: Path) -> Path:
    """A folder per class, with a file that is broken."""
    rng = np.random.default_rng(0)
    for label, scale in (("soft noise", 0.01), ("loud noise", 0.5)):
        folder = tmp_path / "classes" / label
        folder.mkdir(parents=True)
        for name in "abcdefgh":
            soundfile.write(folder / f"{name}.wav", scale * rng.uniform(-1, 1, 4000), RATE)
    shutil.copy(sounds / "text.wav", tmp_path / "classes" / "loud noise" / "broken.wav")
    return tmp_path / "classes"


def test_evaluate_a_folder_per_class(cli: Cli, run: Path, classes: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    command = ("evaluate", run, "--task", "folder", "--data", classes, "--out", out)
    code, printed, err = cli(*command)
    assert code == 1
    assert "16 clips" in printed
    assert "1 file could not be read" in printed
    assert re.search(r"Protocol: 5 stratified folds: no group could be told from\s+the names\.", printed)
    left_out = [line for line in err.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 1
    assert "broken.wav: not readable as audio" in left_out[0]
    assert cli(*command)[0] == 1, "a second evaluation replaces the first"


def test_mistakes_of_evaluate(refused: Callable[..., str], run: Path, classes: Path, tmp_path: Path) -> None:
    def evaluate(task: str, data: object, *more: object, model: object = run) -> str:
        return refused("evaluate", model, "--task", task, "--data", data, "--out", tmp_path / "e", *more)

    assert evaluate("ecs10", classes).startswith("unknown task 'ecs10': did you mean 'esc10'")
    assert "Known: crema-d, esc10, esc50, folder, fsd50k, fsdd, hear, libricount, manifest, nsynth-family" in evaluate(
        "bird", classes
    )
    assert "no such folder; task 'esc10' needs one with meta/esc50.csv" in evaluate("esc10", tmp_path / "nowhere")
    for task, said in (
        ("esc10", "meta/esc50.csv beside a folder audio/"),
        ("fsdd", "recordings/{digit}_{speaker}_{index}.wav"),
        ("speech-commands", "testing_list.txt"),
    ):
        sentence = evaluate(task, classes)
        assert f"not the layout of task '{task}': looked for " in sentence
        assert said in sentence
    assert "a sub-folder for each class with audio in it" in evaluate("folder", classes / "soft noise")
    assert "is not a folder" in evaluate("esc10", classes / "soft noise" / "a.wav")
    assert "no such model file" in evaluate("folder", classes, model=tmp_path / "nowhere")
    assert "not a model, or cut short" in evaluate("folder", classes, model=classes / "soft noise" / "a.wav")
    assert "1 --task and 2 --data: give one --data for each" in evaluate("folder", classes, "--data", classes)
    assert "device 'foo'" in evaluate("folder", classes, "--device", "foo")
    assert not (tmp_path / "e").exists()
    (tmp_path / "e").touch()
    assert "cannot be made a folder" in evaluate("folder", classes)


def test_evaluate_where_no_clip_can_be_read(refused: Callable[..., str], run: Path, classes: Path) -> None:
    for path in classes.rglob("*.wav"):
        path.write_text("not a sound")
    code = main(["evaluate", str(run), "--task", "folder", "--data", str(classes), "--out", str(classes / "e")])
    assert code == 2


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_data_folder_that_may_not_be_read(refused: Callable[..., str], run: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0)
    for task in ("esc10", "folder"):
        assert "secret" in refused("evaluate", run, "--task", task, "--data", secret)


# render


def test_render(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "sounds"
    code, printed, err = cli("render", "--out", out, "--count", 2, "--delta", 0.1, 0.5, "--seconds", 0.5, "--seed", 3)
    assert (code, printed, err) == (0, f"{out}: 10 sounds, patches.json, spectrograms.png\n", "")
    names = {"theta"} | {f"delta-{delta}-{view}" for delta in (0.1, 0.5) for view in ("first", "second")}
    wavs = {f"patch-{i}-{name}.wav" for i in range(2) for name in names}
    assert {path.name for path in out.iterdir()} == wavs | {"patches.json", "spectrograms.png"}
    assert (out / "spectrograms.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", sorted(VOICES))
def test_a_rendered_table_of_knobs_gives_the_same_sounds_again(cli: Cli, tmp_path: Path, name: str) -> None:
    options = ("--voice", name, "--count", 2, "--delta", 0.25, "--seed", 8, "--seconds", 0.4, "--sample-rate", 22_050)
    assert cli("render", "--out", tmp_path, *options)[0] == 0
    table = json.loads((tmp_path / "patches.json").read_text(encoding="utf-8"))
    voice = VOICES[table["voice"]](sample_rate=table["sample_rate"], seconds=table["seconds"])
    for i, (patches, noise_seed) in enumerate(zip(table["patches"], table["noise_seeds"], strict=True)):
        assert set(patches) == {"theta", "delta-0.25-first", "delta-0.25-second"}
        for view, knobs in patches.items():
            patch = torch.tensor([knobs[spec.name]["knob"] for spec in voice.specs])
            units = voice.to_units(patch)
            for spec, unit in zip(voice.specs, units.tolist(), strict=True):
                assert knobs[spec.name]["value"] == pytest.approx(unit, abs=1e-5)
                assert knobs[spec.name]["unit"] == spec.unit
            sound = voice(patch, noise_seed=noise_seed).numpy()
            wav, rate = soundfile.read(tmp_path / f"patch-{i}-{view}.wav", dtype="float32")
            assert rate == 22_050
            np.testing.assert_allclose(sound, wav, atol=2 / 32768)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--delta 0", r"^delta is 0\.0: give a number above 0"),
        ("--delta 0.1 1.5", r"^delta is 1\.5: give"),
        ("--delta -1", r"^delta is -1\.0: give"),
        ("--delta nan", r"^delta is nan: give"),
        ("--voice vioce", r"^unknown voice 'vioce': did you mean 'voice' or 'voice-fm'\?"),
        ("--count 0", r"^count is 0: give at least 1\.$"),
        ("--count -3", r"^count is -3: give at least 1\.$"),
        ("--sample-rate 10", r"^sample_rate is 10: give"),
        ("--seconds 0", r"^seconds is 0\.0: give a length above 0\.$"),
        ("--seconds nan", r"^seconds is nan: give"),
        ("--seconds inf", r"^seconds is inf: give"),
        ("--seconds 1e12", r"^seconds is 1000000000000\.0 at 16000 Hz: give at most 600 s"),
        ("--seed -1", r"--seed: -1 is not from 0 to"),
        ("--uniform-in unit", r"^uniform_in is 'unit': did you mean 'units'\?"),
    ],
)
def test_mistakes_of_render(refused: Callable[..., str], tmp_path: Path, options: str, said: str) -> None:
    assert re.search(said, refused("render", "--out", tmp_path / "r", *options.split()))
    assert not (tmp_path / "r").exists()


def test_render_into_a_file(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be made a folder" in refused("render", "--out", tmp_path / "file")


def test_names_that_are_no_unicode_can_be_printed(cli: Cli, tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "soundalike", "render", "--count", "1", "--delta", "0.1", "--out", b"r\xe9"],
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout == b"r\\udce9: 3 sounds, patches.json, spectrograms.png\n"
