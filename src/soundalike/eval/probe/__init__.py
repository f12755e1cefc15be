"""Frozen embeddings to scores: linear, kNN and MLP probes, the baselines they are held against, and the report."""

from soundalike.eval.probe.baseline import BASELINES, LogMelStatistics, with_baselines
from soundalike.eval.probe.compare import Comparison, compare_to_baselines
from soundalike.eval.probe.evaluate import Evaluation, TaskResult, evaluate
from soundalike.eval.probe.knn import predict_knn
from soundalike.eval.probe.linear import (
    LinearProbe,
    class_indices,
    fit_linear,
    fit_one_against_rest,
    single_threaded_and_quiet,
    standardisation,
)
from soundalike.eval.probe.mlp import MLPProbe, fit_mlp
from soundalike.eval.probe.score import ALL_PROBES, PROBES, TaskScore, score
from soundalike.eval.probe.table import print_table

__all__ = [
    "ALL_PROBES",
    "BASELINES",
    "PROBES",
    "Comparison",
    "Evaluation",
    "LinearProbe",
    "LogMelStatistics",
    "MLPProbe",
    "TaskResult",
    "TaskScore",
    "class_indices",
    "compare_to_baselines",
    "evaluate",
    "fit_linear",
    "fit_mlp",
    "fit_one_against_rest",
    "predict_knn",
    "print_table",
    "score",
    "single_threaded_and_quiet",
    "standardisation",
    "with_baselines",
]
