"""Runs: what they leave behind, that they repeat, resume and end as they should, and what they refuse."""

from __future__ import annotations

import csv
import itertools
import json
import os
import pickletools
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from safetensors import safe_open

import soundalike
from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe
from soundalike.train.checkpoint import CHECKPOINT
from soundalike.train.pretrain import MODEL, RECIPE, pretrain, timing
from soundalike.train.step import HELD_OUT, Clock, Learner


def train(recipe: Recipe, out: Path, resume: bool = False, **settings: Any) -> Path:
    return pretrain(recipe.override(settings), out, resume, device="cpu", quiet=True)


def weights(run: Path) -> dict[str, torch.Tensor]:
    with safe_open(run / MODEL, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def difference(run: Path, other: Path) -> float:
    """The largest difference between the weights of two runs."""
    one, two = weights(run), weights(other)
    assert one.keys() == two.keys()
    return max(float((one[name].double() - two[name].double()).abs().max()) for name in one)


def header(run: Path) -> Any:
    with safe_open(run / MODEL, "pt") as file:
        return {key: json.loads(value) if value[0] == "{" else value for key, value in file.metadata().items()}


def logged(run: Path) -> list[dict[str, str]]:
    """The rows of the CSV logs of all sittings."""
    rows: list[dict[str, str]] = []
    for path in sorted(run.glob("logs/*/metrics.csv")):
        with path.open(newline="") as stream:
            rows += csv.DictReader(stream)
    return rows


class Process:
    """``soundalike pretrain`` as a process of its own, on one thread."""

    def __init__(self, recipe: Recipe, out: Path, *options: str, fresh: bool = True) -> None:
        file = out.parent / f"{out.name}.yaml"
        file.write_text(recipe.to_yaml(), encoding="utf-8")
        command = [sys.executable, "-m", "soundalike", "pretrain", "--device", "cpu", "--out", str(out), *options]
        self.process = subprocess.Popen(
            [*command, "--recipe", str(file)] if fresh else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def until(self, happened: Callable[[], bool]) -> None:
        """Waits until something is so."""
        end = time.monotonic() + 180  # it takes seconds where nothing else is going on
        while not happened():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.02)

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Sends a signal, if any, and gives exit code, stdout and stderr."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


# what a run leaves behind


def test_a_run_leaves_its_recipe_checkpoint_logs_and_model(tiny: Recipe, run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {RECIPE, CHECKPOINT, MODEL, "logs"}
    assert Recipe.load(run / RECIPE) == tiny
    losses = [float(row["loss"]) for row in logged(run) if row["loss"]]
    assert len(losses) == 6
    assert all(0 < loss < 10 for loss in losses)


def test_the_header_of_the_model_tells_all(tiny: Recipe, run: Path) -> None:
    told = header(run)
    assert told["version"] == soundalike.__version__
    assert Recipe.from_dict(told["recipe"]) == tiny
    training = told["training"]
    assert (training["steps"], training["pairs"], training["precision"]) == (6, 48, "32-true")
    assert not {"seconds", "pairs_per_second"} & {*training}, "which differ where the same run is made again"
    assert timing(run)["seconds"] > 0
    assert timing(run)["pairs_per_second"] > 0
    assert timing(run / "logs") == {}
    assert 0 < training["loss"] < 10


def test_the_model_holds_no_pickle_and_can_be_read_by_others(run: Path) -> None:
    content = (run / MODEL).read_bytes()
    assert content[8:9] == b"{", "8 bytes of length, then JSON, then numbers"
    with pytest.raises(Exception):  # noqa: B017 - pickletools raises many things
        list(pickletools.genops(content))
    mask = os.umask(0)
    os.umask(mask)
    assert (run / MODEL).stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_checkpoint_loads_without_running_code(run: Path) -> None:
    checkpoint = torch.load(run / CHECKPOINT, weights_only=True)
    assert checkpoint["global_step"] == 6
    assert checkpoint["soundalike"]["seconds"] > 0


def test_tensorboard_holds_pairs_to_hear_and_to_see(tiny: Recipe, run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(run.glob("logs/*/events*")).parent))
    events.Reload()
    tags = events.Tags()
    assert {f"pair_{i}/{view}" for i in range(4) for view in ("first", "second")} <= set(tags["audio"])
    assert {f"pair_{i}" for i in range(4)} <= set(tags["images"])
    assert "loss" in tags["scalars"]
    sound = events.Audio("pair_0/first")[0]
    assert sound.sample_rate == 16_000
    assert sound.encoded_audio_string[:4] == b"RIFF"
    picture = events.Images("pair_0")[0]
    assert (picture.height, picture.width) == (64, 2 * 24)


# that it repeats


def test_one_seed_one_model(tiny: Recipe, run: Path, tmp_path: Path) -> None:
    torch.rand(7)  # what else happens in the process does not matter
    train(tiny, tmp_path / "again")
    assert difference(run, tmp_path / "again") == 0
    assert (run / MODEL).read_bytes() == (tmp_path / "again" / MODEL).read_bytes(), "the header too"
    train(tiny, tmp_path / "other", seed=1)
    assert difference(run, tmp_path / "other") > 1e-3


def test_training_moves_the_weights(tiny: Recipe, run: Path) -> None:
    model = soundalike.load(run)
    before = dict(model.untrained(tiny.training.seed).encoder.named_parameters())
    after = dict(model.encoder.named_parameters())
    assert all(not torch.equal(before[name], after[name]) for name in before if "linear" not in name)


def numpy_state() -> str:
    return str(np.random.get_state())  # noqa: NPY002


def test_training_leaves_the_global_random_state_alone(tiny: Recipe, tmp_path: Path) -> None:
    torch_before, numpy_before = torch.random.get_rng_state(), numpy_state()
    train(tiny, tmp_path / "run", steps=2)
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    assert numpy_state() == numpy_before


def test_the_loss_goes_down(tiny: Recipe, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run", steps=60, learning_rate=0.05, schedule="constant")
    losses = [float(row["loss"]) for row in logged(tmp_path / "run") if row["loss"]]
    assert len(losses) == 10
    assert np.mean(losses[-3:]) < np.mean(losses[:2]) - 0.3


# resuming


def test_a_killed_run_that_is_resumed_equals_one_that_was_not(tiny: Recipe, tmp_path: Path) -> None:
    settings = {"steps": 60, "optimizer": "sgd", "momentum": 0.9, "checkpoint_every": 7, "validate_every": 30}
    recipe = tiny.override({**settings, "validation_pairs": 8, "learning_rate": 1.0})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = Process(recipe, killed)
    first.until((killed / CHECKPOINT).exists)
    code, _, _ = first.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    step = torch.load(killed / CHECKPOINT, weights_only=True)["global_step"]
    assert 7 <= step < 60
    assert not (killed / MODEL).exists()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(Recipe.load(killed / RECIPE), killed, resume=True)
        train(recipe, whole)
    finally:
        torch.set_num_threads(threads)
    assert difference(killed, whole) <= 1e-6
    assert header(killed)["recipe"] == header(whole)["recipe"]
    resumed, uninterrupted = header(killed)["training"], header(whole)["training"]
    for key in ("steps", "pairs", "loss", "held_out/loss"):
        assert resumed[key] == pytest.approx(uninterrupted[key], rel=1e-4), key
    # the later sitting keeps the logs of the earlier one, and goes on where its checkpoint was
    assert len(list(killed.glob("logs/sitting-*"))) == 2
    steps = [int(row["step"]) for row in csv.DictReader((killed / "logs/sitting-2/metrics.csv").open()) if row["loss"]]
    assert min(steps) >= step


def test_a_finished_run_goes_on_when_it_is_made_longer(tiny: Recipe, tmp_path: Path) -> None:
    constant = tiny.override({"schedule": "constant", "warmup": 0.0, "checkpoint_every": 0})
    train(constant, tmp_path / "twice", steps=3)
    train(constant, tmp_path / "twice", resume=True, steps=7)
    train(constant, tmp_path / "once", steps=7)
    assert header(tmp_path / "twice")["training"]["steps"] == 7
    assert difference(tmp_path / "twice", tmp_path / "once") <= 1e-6
    assert Recipe.load(tmp_path / "twice" / RECIPE).training.steps == 7


def test_a_finished_run_that_is_resumed_stays_as_it_is(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny, out, steps=3)
    before, told = weights(out), header(out)
    train(tiny, out, resume=True, steps=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(out).items())
    assert header(out)["training"]["loss"] == told["training"]["loss"]
    # killed between its last checkpoint and its model
    (out / MODEL).unlink()
    train(tiny, out, resume=True, steps=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(out).items())


def test_a_run_of_minutes_that_is_over_takes_no_further_step(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny, out, minutes=0.02)
    steps = header(out)["training"]["steps"]
    train(tiny, out, resume=True, minutes=0.02)
    assert header(out)["training"]["steps"] == steps
    train(tiny, out, resume=True, minutes=0.04)
    assert header(out)["training"]["steps"] > steps
    assert 2.4 <= timing(out)["seconds"] < 6.0  # and no more than the step that was under way


def test_a_run_killed_before_its_first_checkpoint_starts_again(tiny: Recipe, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / RECIPE).write_text(tiny.to_yaml(), encoding="utf-8")
    train(tiny, out, resume=True)
    assert difference(run, out) == 0


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("delta", 0.3, r"its run has views\.delta \{.*\}, not 0\.3; a resumed run may change its length only\.$"),
        ("seed", 5, r"its run has training\.seed 0, not 5; "),
        ("batch_size", 16, r"its run has training\.batch_size 8, not 16; "),
        ("voice", "voice-fm", r"its run has voice\.name 'voice', not 'voice-fm'; "),
        ("readout", "pooled", r"its run has readout\.(bands|name)"),
    ],
)
def test_a_resumed_run_may_change_its_length_only(tiny: Recipe, run: Path, key: str, value: Any, said: str) -> None:
    before = (run / MODEL).stat()
    with pytest.raises(SoundalikeError, match=said):
        train(tiny, run, resume=True, **{key: value})
    assert (run / MODEL).stat() == before
    assert Recipe.load(run / RECIPE) == tiny


def test_nothing_to_resume(tiny: Recipe, tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            SoundalikeError, match=r"holds no run to resume \(recipe\.yaml is missing\); start it without --resume\.$"
        ):
            train(tiny, out, resume=True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", None])
def test_a_damaged_checkpoint(tiny: Recipe, run: Path, tmp_path: Path, content: bytes | None) -> None:
    whole = (run / CHECKPOINT).read_bytes()
    (tmp_path / RECIPE).write_text(tiny.to_yaml(), encoding="utf-8")
    (tmp_path / CHECKPOINT).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(SoundalikeError, match=r"checkpoint\.ckpt: not a checkpoint, or cut short; delete it to start"):
        train(tiny, tmp_path, resume=True)
    (tmp_path / CHECKPOINT).unlink()
    train(tiny, tmp_path, resume=True)
    assert difference(run, tmp_path) == 0


# ending


def test_ctrl_c_ends_a_run_with_a_usable_model(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = Process(tiny.override({"steps": 1_000_000, "checkpoint_every": 2}), out)
    process.until((out / CHECKPOINT).exists)
    code, printed, said = process.end(signal.SIGINT)
    assert (code, printed) == (0, f"{out / MODEL}\n")
    assert "Traceback" not in said
    model = soundalike.load(out)
    steps = model.training["steps"]
    assert 2 <= steps < 1_000_000
    assert np.isfinite(model.embed(np.zeros(4000, np.float32))).all()
    # and it goes on
    train(Recipe.load(out / RECIPE), out, resume=True, steps=steps + 2)
    assert header(out)["training"]["steps"] == steps + 2


def signals(out: Path, *numbers: signal.Signals) -> None:
    """Sends signals to this very process, as soon as a run has a checkpoint."""

    def send() -> None:
        end = time.monotonic() + 180  # it takes seconds where nothing else is going on
        while not (out / CHECKPOINT).exists() and time.monotonic() < end:
            time.sleep(0.02)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.2)

    threading.Thread(target=send, daemon=True).start()


def test_sigterm_ends_a_run_with_a_model(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    signals(out, signal.SIGTERM)
    train(tiny, out, steps=1_000_000, checkpoint_every=2)
    assert 2 <= header(out)["training"]["steps"] < 1_000_000


def test_a_second_signal_ends_a_run_at_once(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    signals(out, signal.SIGINT, signal.SIGINT)
    # a validation that never ends follows the first step
    slow = tiny.override({"checkpoint_every": 1, "validate_every": 1, "validation_pairs": 8_000_000})
    with pytest.raises(KeyboardInterrupt):
        train(slow, out)
    assert not (out / MODEL).exists()


def test_minutes_end_a_run_and_drive_its_schedule(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, looks = tmp_path / "run", itertools.count()
    monkeypatch.setattr(Clock, "seconds", lambda self: 0.02 * next(looks))  # moves whenever somebody looks at it
    train(tiny, out, minutes=0.06, schedule="cosine", warmup=0.0, learning_rate=1.0)
    assert timing(out)["seconds"] == pytest.approx(3.6, abs=1)
    rates = [float(row["learning_rate"]) for row in logged(out) if row["learning_rate"]]
    peak = 8 / 256
    assert len(rates) >= 2
    assert peak >= rates[0] > rates[-1]
    assert rates == sorted(rates, reverse=True)
    assert header(out)["training"]["learning_rate"] < 0.1 * peak, "the last step is taken near the end of the schedule"


def test_a_run_in_a_thread_needs_no_signals(tiny: Recipe, run: Path, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=(tiny, tmp_path / "run"))
    thread.start()
    thread.join(60)
    assert difference(run, tmp_path / "run") == 0


def test_signal_handlers_are_given_back(tiny: Recipe, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(tiny, tmp_path / "run", steps=1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_that_diverges_says_so_and_keeps_its_last_checkpoint(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    wild = tiny.override({"learning_rate": 1e30, "steps": 60, "warmup": 0.0})
    with pytest.raises(SoundalikeError, match=r"the loss is nan at step \d+; start again with a lower training"):
        train(wild, out, checkpoint_every=10)
    assert not (out / MODEL).exists()
    # nothing is lost, so nothing is in the way of another try
    train(tiny, out, steps=1)


# held-out sounds


def test_held_out_metrics(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny, out, steps=6, validate_every=2, validation_pairs=16)
    rows = [row for row in logged(out) if row["held_out/loss"]]
    assert [int(row["step"]) for row in rows] == [1, 3, 5]
    assert len({row["held_out/loss"] for row in rows}) == 3, "the encoder has changed in between"
    assert 0 <= float(rows[0]["held_out/top1"]) <= 1
    assert header(out)["training"]["held_out/loss"] == pytest.approx(float(rows[-1]["held_out/loss"]), rel=1e-4)


def test_looking_at_held_out_sounds_does_not_change_the_run(tiny: Recipe, run: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run", validate_every=2, validation_pairs=16)
    assert difference(run, tmp_path / "run") == 0


def test_held_out_sounds_are_no_training_sounds(tiny: Recipe) -> None:
    views = Learner(tiny).views
    trained, held_out = views.theta(0, torch.arange(64)), views.theta(0, HELD_OUT + torch.arange(64))
    assert torch.cdist(trained, held_out).min() > 0.5


# folders


def test_a_folder_that_holds_another_run(tiny: Recipe, run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SoundalikeError, match=r"holds a run already \(recipe\.yaml\); give another folder, or --resume"
    ):
        train(tiny, run)
    (tmp_path / MODEL).write_bytes(b"")
    with pytest.raises(SoundalikeError, match=r"holds a run already \(model\.safetensors\)"):
        train(tiny, tmp_path)


def test_folders_that_will_not_do(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SoundalikeError, match=r": not empty and not a run; give a new folder\.$"):
        train(tiny, tmp_path)
    with pytest.raises(SoundalikeError, match=r"file: a file; give a folder for the run\.$"):
        train(tiny, tmp_path / "file")
    with pytest.raises(
        SoundalikeError, match=r"run: cannot be made a folder \(Not a directory\); give another one\.$"
    ):
        train(tiny, tmp_path / "file" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_empty_folder_will_do(tiny: Recipe, tmp_path: Path) -> None:
    assert train(tiny, tmp_path, steps=1) == tmp_path / MODEL
    assert (tmp_path / MODEL).is_file()


def test_a_bad_recipe_leaves_no_folder(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match="delta is 2"):
        train(tiny, tmp_path / "run", delta=2)
    assert not (tmp_path / "run").exists()


def test_devices(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"unknown device 'gpu': .*Known: auto, cpu, cuda\.$"):
        pretrain(tiny, tmp_path / "run", device="gpu", quiet=True)
    if not torch.cuda.is_available():
        with pytest.raises(SoundalikeError, match="device 'cuda': PyTorch finds no GPU here"):
            pretrain(tiny, tmp_path / "run", device="cuda", quiet=True)
    assert not (tmp_path / "run").exists()


# a full disk


def test_a_full_disk_at_the_first_checkpoint_leaves_the_folder_free(
    tiny: Recipe, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    open_file = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "w" in mode and CHECKPOINT in path.name:
            written.append(path)
            with open_file(path, "wb") as stream:
                stream.write(b"as far as there was room")
            raise OSError(28, "No space left on device", str(path))
        return open_file(path, mode, *rest, **options)

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(
            SoundalikeError, match=r"run/checkpoint\.ckpt: the checkpoint cannot .* \(No space left on d"
        ):
            train(tiny, out)
    assert [path.parent for path in written] == [out], "not by way of a temporary folder"
    assert list(out.iterdir()) == []
    train(tiny, out)
    assert difference(run, out) == 0


def test_a_full_disk_later_keeps_the_checkpoint_before(
    tiny: Recipe, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, count, open_file = tmp_path / "run", itertools.count(), Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "w" in mode and CHECKPOINT in path.name and next(count) == 1:
            raise OSError(28, "No space left on device", str(path))
        return open_file(path, mode, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(SoundalikeError, match="the checkpoint cannot be written there"):
            train(tiny, out, checkpoint_every=2)
    assert torch.load(out / CHECKPOINT, weights_only=True)["global_step"] == 2
    train(tiny, out, resume=True, checkpoint_every=2)
    assert difference(run, out) == 0


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_only_what_was_not_finished_is_taken_up_again(
    tiny: Recipe, run: Path, tmp_path: Path, resume: bool
) -> None:
    for name in (".checkpoint.ckpt.part", ".recipe.yaml.part", "checkpoint.ckpt.part"):
        (tmp_path / name).write_bytes(b"half")
    train(tiny, tmp_path, resume)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in run.iterdir()}
    assert difference(run, tmp_path) == 0


def test_logs_for_which_the_disk_is_too_full_are_one_sentence(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSVLogger, "save", full)
    with pytest.raises(
        SoundalikeError, match=r"run: the run cannot write there \(No space left on device\); make room"
    ):
        train(tiny, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_no_temporary_folder_is_needed(
    tiny: Recipe, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []
    real = tempfile.mkstemp

    def note(*arguments: Any, **options: Any) -> Any:
        used.append((arguments, options))
        return real(*arguments, **options)

    monkeypatch.setattr(tempfile, "mkstemp", note)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    train(tiny, tmp_path / "run")
    assert used == []
    assert difference(run, tmp_path / "run") == 0
