"""Published data sets from their official addresses: what there is, and how it gets into a folder."""

from soundalike.data.download.catalogue import CATALOGUE, Archive, amount, find
from soundalike.data.download.dataset import Got, get

__all__ = ["CATALOGUE", "Archive", "Got", "amount", "find", "get"]
