"""A classifier of labelled sounds on a frozen encoder: its training, its predictions for files and long recordings."""

from soundalike.apps.classifier.classifier import NONE, SHARE, Prediction, SoundClassifier, load_classifier
from soundalike.apps.classifier.recordings import Event, time_line
from soundalike.apps.classifier.report import TrainingReport
from soundalike.apps.classifier.teaching import teach, teach_with_report

__all__ = [
    "NONE",
    "SHARE",
    "Event",
    "Prediction",
    "SoundClassifier",
    "TrainingReport",
    "load_classifier",
    "teach",
    "teach_with_report",
    "time_line",
]
