"""Somebody's own sounds: a classifier on a frozen encoder, what it says of files, and time lines of long ones."""

from soundalike.apps.classifier.answer import NONE, Answer
from soundalike.apps.classifier.lesson import Lesson, hold_lesson, teach
from soundalike.apps.classifier.taught import SHARE, Taught, load_taught
from soundalike.apps.classifier.timeline import Event, time_line

__all__ = ["NONE", "SHARE", "Answer", "Event", "Lesson", "Taught", "hold_lesson", "load_taught", "teach", "time_line"]
