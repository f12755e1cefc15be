"""Published data sets from their official addresses: what there is, and how it gets into a folder."""

from soundalike.data.download.catalogue import BY_HAND, CATALOGUE, Archive, ByHand, amount, find
from soundalike.data.download.dataset import Got, get

__all__ = ["BY_HAND", "CATALOGUE", "Archive", "ByHand", "Got", "amount", "find", "get"]
