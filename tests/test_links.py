"""Groups that grow together, against a slow search of the whole graph."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from soundalike.core.union_find import Links

THINGS = range(12)


def reached(thing: int, pairs: list[tuple[int, int]]) -> set[int]:
    found = {thing}
    while more := {b for a, b in [*pairs, *((b, a) for a, b in pairs)] if a in found} - found:
        found |= more
    return found


@given(st.lists(st.tuples(st.sampled_from(THINGS), st.sampled_from(THINGS)), max_size=20))
def test_things_have_one_root_just_where_a_way_leads_from_one_to_the_other(pairs: list[tuple[int, int]]) -> None:
    links: Links[int] = Links()
    for first, second in pairs:
        stands = links.root(first)
        links.join(first, second)
        assert links.root(first) == links.root(second) == stands
    for thing in THINGS:
        assert {other for other in THINGS if links.root(other) == links.root(thing)} == reached(thing, pairs)
