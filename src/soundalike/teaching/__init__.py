"""Somebody's own sounds: a classifier on a frozen encoder, what it says of files, and time lines of long ones."""

from soundalike.teaching.answer import NONE, Answer
from soundalike.teaching.lesson import Lesson, hold_lesson, teach
from soundalike.teaching.taught import SHARE, Taught, load_taught
from soundalike.teaching.timeline import Event, time_line

__all__ = ["NONE", "SHARE", "Answer", "Event", "Lesson", "Taught", "hold_lesson", "load_taught", "teach", "time_line"]
