"""Which things are linked, directly or by others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Links(Generic[Thing]):
    """Things in groups that grow together (union-find). A thing that was never joined is a group by itself."""

    def __init__(self) -> None:
        self._above: dict[Thing, Thing] = {}

    def root(self, thing: Thing) -> Thing:
        """The one that stands for the group of a thing."""
        while (above := self._above.get(thing, thing)) != thing:
            self._above[thing] = thing = self._above.get(above, above)  # each search shortens the next one's way
        return thing

    def join(self, first: Thing, second: Thing) -> None:
        """Makes one group of two; the one that stands for the first stands for both."""
        self._above[self.root(second)] = self.root(first)
