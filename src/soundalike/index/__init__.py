"""Sounds of a folder, to be searched by sound: nearest ones and near-duplicates."""

from soundalike.index.duplicates import Duplicate
from soundalike.index.search import Found, Index
from soundalike.index.update import Updated

__all__ = ["Duplicate", "Found", "Index", "Updated"]
