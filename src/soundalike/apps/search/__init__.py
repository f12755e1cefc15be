"""Sounds of a folder, to be searched by sound: nearest ones and near-duplicates."""

from soundalike.apps.search.duplicates import Duplicate
from soundalike.apps.search.index import Found, Index
from soundalike.apps.search.update import Updated

__all__ = ["Duplicate", "Found", "Index", "Updated"]
