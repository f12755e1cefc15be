"""The MLP probe: one hidden layer on frozen embeddings, stopped where rows held out of the training set say so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from soundalike.eval.probe.linear import class_indices, inner_splits, standardisation
from soundalike.eval.probe.several import inner_splits_several, mean_average_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

HIDDEN = 512
LEARNING_RATE = 1e-3
STRENGTH = 0.1
EPOCHS = 10
PATIENCE = 3
_SMALLEST_BATCH, _LARGEST_BATCH = 16, 128
_AVERAGED = 25  # steps over which weights are averaged: without it, right answers leap from epoch to epoch
_STEPS = 20  # an epoch of a small training set has as many where the smallest batch allows


@dataclass(frozen=True)
class MLPProbe:
    """A fitted probe.

    Attributes:
        classes: labels that it can answer, (classes,).
        mean: of the training embeddings, (D,).
        scale: what an embedding is multiplied by once the mean is off, (D,); 0 where training has one value only.
        layers: weights and bias of the hidden layer, (D, hidden) and (hidden,), and of the output, (hidden, classes)
            and (classes,).
        epochs: how often it has seen the training set.
    """

    classes: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    epochs: int

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Unnormalised log probabilities ``(n, classes)`` of embeddings ``(n, D)``."""
        (weights, bias), (out_weights, out_bias) = self.layers
        hidden = np.maximum(((features - self.mean) * self.scale) @ weights + bias, 0)
        return hidden @ out_weights + out_bias

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The most likely label ``(n,)`` of each embedding ``(n, D)``."""
        return self.classes[self.logits(features).argmax(1)]


def fit_mlp(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    hidden: int = HIDDEN,
    inner_folds: int = 3,
    seed: int = 0,
) -> MLPProbe:
    """Fit an MLP probe; nothing but training rows (and a validation set, where there is one) is looked at.

    One hidden layer with ReLU on standardised features, trained by Adam on the mean cross-entropy plus
    ``STRENGTH / 2`` times the squared weights; what is used is the running mean of the weights over the last steps. It
    sees the training rows as often as gives the most right answers on held-out rows: those of the validation set, or
    of ``inner_folds`` folds of the training rows, all of them stopped at the same epoch. Equal counts are decided by
    cross-entropy. The search ends where no epoch was better for a while. The probe is fitted on all training rows in
    either case: a validation set chooses, but does not train. The same rows and seed give the same probe.

    Args:
        features: training embeddings, ``(n, D)``.
        labels: their labels, ``(n,)``; or, of several labels a clip, which of the classes each has, bool
            ``(n, classes)``: then the loss is that of each class by itself, the epoch is chosen by the mean average
            precision, and the probe's classes are numbers.
        groups: what must not be split between inner folds, ``(n,)``; without it, or where no two rows share a
            group, the folds are stratified by class only.
        validation: embeddings and labels that choose the number of epochs instead of inner folds.
        hidden: width of the hidden layer.
        inner_folds: number of inner folds; fewer where a class or the groups do not allow so many.
        seed: of the shuffle behind the inner folds, of the first weights and of the order of the rows.

    Returns:
        The fitted probe. With nothing to choose by, it has seen the rows ``EPOCHS`` times.
    """
    features = np.asarray(features, dtype=np.float32)
    several = np.ndim(labels) == 2
    classes, codes = (np.arange(labels.shape[1]), labels) if several else np.unique(labels, return_inverse=True)
    mean, scale = standardisation(features)
    if len(classes) == 1 or not scale.any():
        shares = codes.mean(0) if several else np.bincount(codes) / len(codes)
        bias = np.log(np.maximum(shares, 1e-12)).astype(np.float32)  # the most frequent class for all
        flat = [np.zeros(shape, np.float32) for shape in ((features.shape[1], hidden), hidden, (hidden, len(classes)))]
        return MLPProbe(classes, mean, scale, ((flat[0], flat[1]), (flat[2], bias)), 0)
    rows = (features - mean) * scale
    with one_thread():
        if validation is not None and len(validation[1]):
            held_out = (np.asarray(validation[0], dtype=np.float32) - mean) * scale
            truth = validation[1] if several else class_indices(np.asarray(validation[1]), classes)
            parts = [(rows, codes, held_out, truth)]
        else:
            # Inner folds share the standardisation of the whole training set: it knows no labels.
            make = inner_splits_several if several else inner_splits
            splits = make(codes, groups, inner_folds, seed)
            parts = [(rows[train], codes[train], rows[test], codes[test]) for train, test in splits]
        epochs = _best_epoch(parts, hidden, len(classes), seed) if parts else EPOCHS
        *_, network = islice(_training(rows, codes, hidden, len(classes), seed), epochs)
    first, first_bias, second, second_bias = (part.numpy() for part in network.parameters())
    return MLPProbe(classes, mean, scale, ((first.T, first_bias), (second.T, second_bias)), epochs)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of PyTorch within: two order their sums differently, and folds run side by side instead."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training rows and codes, held-out rows and codes; codes are bool (n, classes) of several labels."""


def _best_epoch(parts: list[Part], hidden: int, classes: int, seed: int) -> int:
    """After how many epochs the networks of all parts together have the most right answers on held-out rows."""
    import torch

    training = [_training(rows, codes, hidden, classes, seed) for rows, codes, _, _ in parts]
    best, chosen = (-1.0, 0.0), 0
    for epoch in range(1, EPOCHS + 1):
        right, loss = 0.0, 0.0
        for networks, (_, _, rows, truth) in zip(training, parts, strict=True):
            logits = next(networks)(torch.from_numpy(rows))
            if truth.ndim == 2:
                right += mean_average_precision(truth, logits.numpy())
                continue
            likelihoods = logits.log_softmax(1).numpy()
            # a label that training does not know is never right
            true = np.where(truth >= 0, likelihoods[np.arange(len(truth)), truth], -np.inf)
            right += int((likelihoods.argmax(1) == truth).sum())
            loss -= float(np.maximum(true, np.log(1e-12)).sum())
        if (right, -loss) > best:
            best, chosen = (right, -loss), epoch
        elif epoch - chosen >= PATIENCE:
            break
    return chosen


def _training(rows: np.ndarray, codes: np.ndarray, hidden: int, classes: int, seed: int) -> Iterator[nn.Sequential]:
    """The network after each epoch, its weights averaged; the same one every time, trained on."""
    import torch
    from torch import nn
    from torch.nn import functional

    from soundalike.nn.encoder import initialise

    generator = torch.Generator().manual_seed(seed)
    several = codes.ndim == 2
    x, y = torch.from_numpy(rows), torch.from_numpy(codes.astype(np.float32) if several else codes)
    network = nn.Sequential(
        nn.utils.skip_init(nn.Linear, x.shape[1], hidden), nn.ReLU(), nn.utils.skip_init(nn.Linear, hidden, classes)
    )
    initialise(network, generator)
    averaged = copy.deepcopy(network).requires_grad_(False)
    now, mean = list(network.parameters()), list(averaged.parameters())
    parts = [{"params": now[0::2], "weight_decay": STRENGTH}, {"params": now[1::2], "weight_decay": 0.0}]
    optimizer = torch.optim.Adam(parts, LEARNING_RATE, fused=True)
    batch = min(max(len(x) // _STEPS, _SMALLEST_BATCH), _LARGEST_BATCH)
    steps = 0
    while True:
        with torch.enable_grad():
            for some in _batches(len(x), batch, generator):
                optimizer.zero_grad()
                if several:
                    summed = functional.binary_cross_entropy_with_logits(network(x[some]), y[some], reduction="sum")
                    (summed / len(some)).backward()
                else:
                    functional.cross_entropy(network(x[some]), y[some]).backward()
                optimizer.step()
                steps += 1
                for average, latest in zip(mean, now, strict=True):
                    average.lerp_(latest.detach(), 1 / min(steps, _AVERAGED))
        yield averaged


def _batches(count: int, batch: int, generator: torch.Generator) -> list[Tensor]:
    """All rows in a random order, in parts of nearly one size: a last part of a few rows would be a step of noise."""
    import torch

    return list(torch.randperm(count, generator=generator).tensor_split(max(1, round(count / batch))))
