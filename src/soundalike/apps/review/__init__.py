"""Labelling the sounds of a folder in a browser, while a classifier learns from the labels and sorts the rest."""

from soundalike.apps.review.labels import LabelFile
from soundalike.apps.review.project import Project

__all__ = ["LabelFile", "Project"]
