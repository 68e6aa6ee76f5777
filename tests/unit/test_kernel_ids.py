"""Ids that rise, and ids that come out the same."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kernel import ids


def test_uuid7_rises_strictly_and_is_well_formed() -> None:
    made = [ids.uuid7() for _ in range(20_000)]  # far more than the counter holds within a millisecond
    assert all(a < b for a, b in pairwise(made))
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {uuid.RFC_4122}


def test_uuid7_is_unique_across_threads() -> None:
    with ThreadPoolExecutor(4) as executor:
        made = [one for batch in executor.map(lambda _: [ids.uuid7() for _ in range(2_000)], range(8)) for one in batch]
    assert len(set(made)) == len(made)


@given(a=st.lists(st.text(max_size=5), max_size=4), b=st.lists(st.text(max_size=5), max_size=4))
def test_derived_ids_are_equal_exactly_for_equal_parts(a: list[str], b: list[str]) -> None:
    assert (ids.derived("space", *a) == ids.derived("space", *b)) == (a == b)
    assert ids.derived("space", *a) != ids.derived("other", *a)


def test_derived_ids_never_change() -> None:
    assert str(ids.derived("idempotency", "a", "b")) == "fb4505e6-62c1-5206-9bc5-4e6e4c9b13a9"
