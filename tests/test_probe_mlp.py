"""The MLP probe: what it can tell, what it looks at, and that it is the same every time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.neural_network import MLPClassifier

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.table import Dataset, build
from soundalike.eval.probe import ALL_PROBES, PROBES, fit_linear, fit_mlp, mlp, score
from soundalike.eval.probe.score import check_probes


def blobs(count: int, width: int, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % 3
    centres = np.random.default_rng(99).standard_normal((3, width))
    features = centres[codes] + spread * rng.standard_normal((count, width))
    return features.astype(np.float32), np.array(["ape", "bee", "cat"])[codes]


def rings(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A disc and the ring around it, which no plane divides."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 0.8, count) + 1.2 * labels
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), labels


def toy(count: int = 60) -> tuple[np.ndarray, Dataset]:
    vectors, labels = blobs(count, 8, spread=0.5)
    dataset = build(
        "toy",
        "folds by hand",
        paths=[Path(f"/clips/{number}.wav") for number in range(count)],
        labels=[str(label) for label in labels],
        groups=[str(number // 6) for number in range(count)],
        folds=1 + np.arange(count) // 6 % 2,
    )
    return vectors, dataset


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_it_tells_what_no_plane_divides() -> None:
    train, test = rings(300), rings(200, seed=1)
    right = (fit_mlp(*train, hidden=64).predict(test[0]) == test[1]).mean()
    assert right > 0.95
    assert (fit_linear(*train).predict(test[0]) == test[1]).mean() < 0.8
    slow = MLPClassifier((64,), max_iter=100, random_state=0).fit(*train)
    assert right > slow.score(*test) - 0.05


def test_logits_are_those_of_the_network_that_was_trained() -> None:
    features, labels = blobs(40, 6)
    probe = fit_mlp(features, labels, hidden=8)
    standard = (features - features.mean(0)) / features.std(0)
    codes = np.unique(labels, return_inverse=True)[1]
    training = mlp._training(standard, codes, 8, 3, seed=0)
    for _ in range(probe.epochs):
        network = next(training)
    expected = network(torch.from_numpy(standard)).numpy()
    np.testing.assert_allclose(probe.logits(features), expected, atol=1e-3)


def test_the_same_rows_and_seed_give_the_same_probe() -> None:
    features, labels = blobs(60, 10, spread=4)
    torch.manual_seed(1)
    first = fit_mlp(features, labels, hidden=16)
    state = torch.get_rng_state()
    second = fit_mlp(features, labels, hidden=16)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.epochs == second.epochs
    assert np.array_equal(first.logits(features), second.logits(features))
    third = fit_mlp(features, labels, hidden=16, seed=1)
    assert not np.array_equal(first.logits(features), third.logits(features))


def test_threads_change_nothing_and_stay_as_they_were() -> None:
    features, labels = blobs(60, 10)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = fit_mlp(features, labels, hidden=16).logits(features)
        torch.set_num_threads(3)
        assert np.array_equal(fit_mlp(features, labels, hidden=16).logits(features), one)
        assert torch.get_num_threads() == 3
        score(*toy(), ["mlp"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_gradients_need_not_be_on() -> None:
    features, labels = blobs(30, 5)
    expected = fit_mlp(features, labels, hidden=8).logits(features)
    with torch.no_grad():
        assert np.array_equal(fit_mlp(features, labels, hidden=8).logits(features), expected)


def test_units_and_offsets_of_features_do_not_matter() -> None:
    features, labels = blobs(60, 10)
    plain = fit_mlp(features, labels, hidden=16)
    moved = fit_mlp(features * 8 + 16, labels, hidden=16)
    np.testing.assert_allclose(plain.logits(features), moved.logits(features * 8 + 16), atol=1e-2)


def test_validation_set_chooses_the_epoch_that_does_best_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "EPOCHS", 12)
    monkeypatch.setattr(mlp, "PATIENCE", 12)
    features, labels = blobs(90, 20, spread=5)
    held_out, truth = blobs(200, 20, spread=5, seed=1)
    right = {}
    for epochs in range(1, 13):
        monkeypatch.setattr(mlp, "_best_epoch", lambda *_, chosen=epochs: chosen)
        right[epochs] = (fit_mlp(features, labels, hidden=8).predict(held_out) == truth).sum()
    monkeypatch.undo()
    monkeypatch.setattr(mlp, "EPOCHS", 12)
    monkeypatch.setattr(mlp, "PATIENCE", 12)
    chosen = fit_mlp(features, labels, validation=(held_out, truth), hidden=8).epochs
    assert len(set(right.values())) > 1
    assert right[chosen] == max(right.values())


def test_groups_stay_whole_when_the_epoch_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(60, 5)
    features[:, 0] = groups = np.arange(60) // 6
    seen = []

    def best_epoch(parts: list[mlp.Part], *_: int) -> int:
        seen.extend((set(train[:, 0].tolist()), set(test[:, 0].tolist())) for train, _, test, _ in parts)
        return 1

    monkeypatch.setattr(mlp, "_best_epoch", best_epoch)
    fit_mlp(features, labels, groups=groups, hidden=4)
    assert len(seen) == 3
    assert all(train and test and not train & test for train, test in seen)


def test_the_search_ends_where_it_gets_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(60, 10)
    noise = np.random.default_rng(0).permutation(labels)
    probe = fit_mlp(features, labels, validation=(features, noise), hidden=64)
    assert probe.epochs < mlp.EPOCHS
    monkeypatch.setattr(mlp, "EPOCHS", 1)
    assert fit_mlp(features, labels, hidden=4).epochs == 1


def test_validation_labels_that_training_lacks_are_never_right() -> None:
    features, labels = blobs(60, 10)
    held_out, truth = blobs(30, 10, seed=1)
    truth = np.concatenate([truth, ["zebra"] * 5])
    held_out = np.concatenate([held_out, held_out[:5]])
    probe = fit_mlp(features, labels, validation=(held_out, truth), hidden=16)
    assert set(probe.predict(held_out)) <= {"ape", "bee", "cat"}


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_very_few_rows(rows: int) -> None:
    features, labels = blobs(rows, 4)
    probe = fit_mlp(features, labels, hidden=4)
    assert set(probe.predict(features)) <= set(labels)
    assert np.isfinite(probe.logits(features)).all()


def test_one_class_or_nothing_that_varies_gives_the_most_frequent_class() -> None:
    features, _ = blobs(9, 4)
    assert set(fit_mlp(features, np.full(9, "ape"), hidden=4).predict(features)) == {"ape"}
    flat = fit_mlp(np.ones((9, 4)), np.array(["bee"] * 3 + ["cat"] * 6), hidden=4)
    assert set(flat.predict(features)) == {"cat"}
    assert flat.epochs == 0


def test_a_score_with_any_subset_of_probes() -> None:
    vectors, dataset = toy()
    assert PROBES == ("linear", "knn")
    assert ALL_PROBES == ("linear", "knn", "mlp")
    assert list(score(vectors, dataset).probes) == ["linear", "knn"]
    result = score(vectors, dataset, ("mlp", "linear", "mlp"))
    assert list(result.probes) == ["mlp", "linear"]
    assert result.probes["mlp"].mean > 0.8
    for fold in result.probes["mlp"].folds:
        assert fold.epochs is not None
        assert (fold.strength, fold.converged) == (None, None)
    assert all(fold.epochs is None for fold in result.probes["linear"].folds)
    json.dumps(result.as_dict())


def test_unknown_and_missing_probes_are_named() -> None:
    with pytest.raises(SoundalikeError, match="mlp"):
        check_probes(["mpl"])
    with pytest.raises(SoundalikeError, match="no probe"):
        check_probes([])


def test_report_and_table_of_an_evaluation(tmp_path: Path) -> None:
    import soundfile

    from soundalike.data.datasets import read
    from soundalike.eval.probe import LogMelStatistics, evaluate, print_table

    for number in range(12):
        hertz = 300 if number % 2 else 2000
        folder = tmp_path / "sounds" / f"{hertz} Hz"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        tone = np.sin(2 * np.pi * hertz * np.arange(4000) / 16000) + 0.1 * rng.standard_normal(4000)
        soundfile.write(folder / f"{number}.wav", 0.5 * tone, 16000)
    dataset = read("folder", tmp_path / "sounds")
    out = tmp_path / "out"
    evaluation = evaluate({"mine": LogMelStatistics()}, [dataset], out, probes=["mlp", "knn"], progress=False)
    assert evaluation.probes == ["mlp", "knn"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<b>MLP probe</b>: one hidden layer of 512" in page
    assert "Confusion matrix of the MLP probe" in page
    assert "Linear probe" not in page
    console = Console(width=120, record=True, file=io.StringIO())
    print_table(evaluation, console)
    assert "MLP probe" in console.export_text()
    task = json.loads((out / "results.json").read_text(encoding="utf-8"))["tasks"][0]
    assert task["scores"]["mine"]["probes"]["mlp"]["folds"][0]["epochs"] >= 1
    with pytest.raises(SoundalikeError, match="unknown probe"):
        evaluate({"mine": LogMelStatistics()}, [dataset], tmp_path / "other", probes=["mpl"], progress=False)
    assert not (tmp_path / "other").exists()
