"""Frozen embeddings to scores: linear and kNN probes, the floors they are held against, and the report."""

from soundalike.probe.compare import Comparison, compare_to_floors
from soundalike.probe.evaluate import Evaluation, TaskResult, evaluate
from soundalike.probe.floor import FLOORS, LogMelStatistics, with_floors
from soundalike.probe.knn import predict_knn
from soundalike.probe.linear import LinearProbe, fit_linear
from soundalike.probe.score import PROBES, TaskScore, score
from soundalike.probe.table import print_table

__all__ = [
    "FLOORS",
    "PROBES",
    "Comparison",
    "Evaluation",
    "LinearProbe",
    "LogMelStatistics",
    "TaskResult",
    "TaskScore",
    "compare_to_floors",
    "evaluate",
    "fit_linear",
    "predict_knn",
    "print_table",
    "score",
    "with_floors",
]
