"""Ids that sort by the time they were made."""

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from shared import ids

RFC_9562_VARIANT = 0b10


def test_an_id_says_its_version_and_variant() -> None:
    made = ids.uuid7()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 62 & 0b11 == RFC_9562_VARIANT


def test_an_id_begins_with_the_millisecond_in_which_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.uuid7().int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


@given(st.lists(st.integers(min_value=0, max_value=2**48 - 1), min_size=2, unique=True))
def test_ids_of_later_milliseconds_sort_later(milliseconds: list[int]) -> None:
    made = [_at(moment) for moment in sorted(milliseconds)]
    assert sorted(made) == made
    assert sorted(map(str, made)) == [str(each) for each in made]


def test_no_two_ids_of_one_millisecond_are_the_same() -> None:
    assert len({ids.uuid7() for _ in range(10_000)}) == 10_000


def _at(millisecond: int) -> uuid.UUID:
    """Make an id at a moment of our own choice."""
    real = time.time_ns
    time.time_ns = lambda: millisecond * 1_000_000 + 999_999
    try:
        return ids.uuid7()
    finally:
        time.time_ns = real
