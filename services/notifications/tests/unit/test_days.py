"""What a day consists of, and which days there are."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import use_cases
from notifications.adapters.images import Sources
from notifications.domain import KEPT_DAYS, Figures, day_of, growth, is_kept
from notifications.requests import InvalidRequest, day, rebuild
from shared.errors import UnreadableMessage

TODAY = date(2026, 11, 25)
SOURCES = Sources(None, sales="sales", outcomes="outcomes", deliveries="deliveries")

_figures = st.dictionaries(st.sampled_from(["units", "revenue_EUR", "emails"]), st.integers(0, 9))


class Figured:
    """Days of which each has the same figures."""

    def generations(self) -> list[str]:
        return ["0"]

    def absorb(self, *_: object) -> bool:
        raise AssertionError

    def figures(self, _: date) -> Figures:
        return {"placed": 2, "refused_DECLINED": 1}


@given(st.lists(_figures, min_size=1))
def test_whatever_comes_how_often_in_whatever_order_the_largest_image_is_what_stands(
    images: list[dict[str, int]],
) -> None:
    known: dict[str, int] = {}
    for image in images:
        for name, more in growth(known, image).items():
            known[name] = known.get(name, 0) + more
    for name in {name for image in images for name in image}:
        assert known.get(name, 0) == max(image.get(name, 0) for image in images)


def test_a_day_has_a_place_for_each_outcome_reason_and_currency() -> None:
    figures = {
        "placed": 3,
        "rejected": 2,
        "refused_OUT_OF_STOCK": 2,
        "revenue_EUR": 700,
        "revenue_USD": 1,
        "units": 4,
        "emails": 5,
    }
    found = day_of(TODAY, figures)
    assert found.orders == {"placed": 3, "confirmed": 0, "rejected": 2, "cancelled": 0}
    assert (found.revenue, found.refusals) == ({"EUR": 700, "USD": 1}, {"OUT_OF_STOCK": 2})
    assert (found.units, found.emails) == (4, 5)


def test_a_day_is_there_until_what_it_consists_of_expires_and_not_before_it_begins() -> None:
    def found(day_: date) -> bool:
        return use_cases.get_stats(day_, days=Figured(), today=TODAY) is not None

    assert found(TODAY)
    assert found(TODAY - timedelta(days=KEPT_DAYS))
    assert not found(TODAY - timedelta(days=KEPT_DAYS + 1))
    assert not found(TODAY + timedelta(days=1))
    assert not is_kept(TODAY - timedelta(days=KEPT_DAYS + 1), TODAY)


@pytest.mark.parametrize(
    ("table", "image", "what"),
    [
        ("deliveries", {"order_id": {"S": "o"}, "message_id": {"S": "m"}}, "sent_at"),
        ("sales", {"day": {"S": "soon"}, "sku": {"S": "MUG"}}, "soon"),
        (
            "outcomes",
            {"order_id": {"S": "o"}, "type": {"S": "order.lost.v1"}, "day": {"S": "2026-11-25"}},
            "order.lost.v1",
        ),
        ("strangers", {}, "table strangers"),
    ],
)
def test_an_item_that_no_day_can_be_made_of_is_refused_and_named(
    table: str, image: dict[str, dict[str, str]], what: str
) -> None:
    with pytest.raises(UnreadableMessage, match=what):
        SOURCES.share(table, image)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "20261124", "2026-W48-2", "2026-02-30", "2026-11-24\n", "\uff12026-11-24", 7],
)
def test_what_is_no_date_is_refused_by_the_name_of_its_field(text: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        day({"day": text})
    assert [fault.field for fault in refused.value.faults] == ["day"]


def test_a_day_may_be_left_out() -> None:
    assert day({}) is None
    assert day({"day": "2026-11-24"}) == date(2026, 11, 24)


def test_a_rebuild_goes_on_from_what_it_answered_and_from_nothing_else() -> None:
    begun = use_cases.Rebuild("g", "sales", {"day": {"S": "2026-11-24"}}, 3)
    assert rebuild({"begun": vars_of(begun)}) == begun
    assert rebuild({}) is None
    for wrong in ("soon", {"begun": 3}, {"begun": {"generation": "g"}}):
        with pytest.raises(InvalidRequest):
            rebuild(wrong)


def vars_of(begun: use_cases.Rebuild) -> dict[str, object]:
    return {name: getattr(begun, name) for name in begun.__slots__}
