"""The shop's days on a real DynamoDB: from the streams as from the tables, whatever comes how."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications import bootstrap, use_cases
from notifications.adapters.days import DynamoDays, Overtaken
from notifications.adapters.images import Sources
from notifications.domain import KEPT_DAYS, Day, Share, day_of
from notifications.use_cases import DONE, Rebuild

Handlers = Callable[[str], ModuleType]

TODAY = datetime.now(UTC).date()
BOTH = (TODAY, TODAY - timedelta(days=1))


def never() -> bool:
    return False


def days_of(cloud: Any) -> DynamoDays:
    return DynamoDays(cloud.client("dynamodb"), cloud.tables.days)


def stats(handlers: Handlers, day: object = None) -> dict[str, Any]:
    query = {"day": str(day)} if day else None
    answer = handlers("get_stats").handler({"queryStringParameters": query}, None)
    assert answer["statusCode"] == 200, answer
    return dict(json.loads(answer["body"]))


def share(source: str = "sale#MUG", **figures: int) -> Share:
    return Share(source, TODAY, figures)


@pytest.fixture
def traded(cloud: Any, handlers: Handlers) -> date:
    """Return the day on which one order was confirmed; all five facts were mailed, today."""
    mails = cloud.captured("email_five_facts")
    assert handlers("send_email").handler(mails, cloud.invocation()) == {"batchItemFailures": []}
    facts = [json.loads(record["body"]) for record in mails["Records"]]
    mails["Records"] = [
        record
        for record, fact in zip(mails["Records"], facts, strict=True)
        if fact["type"] != "order.parked.v1"
    ]
    answer = handlers("count_sales").handler(mails, cloud.invocation())
    assert answer == {"batchItemFailures": []}
    (day,) = {date.fromisoformat(fact["time"][:10]) for fact in facts}
    return day


def test_the_tables_streams_make_the_day(cloud: Any, handlers: Handlers, traded: date) -> None:
    changes = {"Records": cloud.changes()}
    assert handlers("count_day").handler(changes, cloud.invocation()) == {"batchItemFailures": []}
    day = stats(handlers, traded)
    assert day["orders"] == {"placed": 1, "confirmed": 1, "rejected": 1, "cancelled": 1}
    assert sum(day["refusals"].values()) == 1
    assert day["units"] == sum(units for units, _, _ in cloud.sold().values())
    assert day["revenue"] == {"EUR": sum(cents for _, _, cents in cloud.sold().values())}
    assert stats(handlers)["emails"] == 5
    assert stats(handlers)["day"] == TODAY.isoformat()


def test_changes_that_come_twice_and_in_reverse_are_counted_once(
    cloud: Any, handlers: Handlers, traded: date
) -> None:
    changes = cloud.changes()
    handler = handlers("count_day").handler
    for records in (changes[::-1], changes, changes + changes):
        answer = handler({"Records": records}, cloud.invocation())
        assert answer == {"batchItemFailures": []}
    assert stats(handlers, traded)["orders"]["confirmed"] == 1
    assert stats(handlers)["emails"] == 5


def test_a_change_that_nobody_can_read_fails_alone_and_is_named_by_its_sequence_number(
    cloud: Any, handlers: Handlers, traded: date
) -> None:
    changes = cloud.changes()
    poison = json.loads(json.dumps(changes[0], default=str))
    poison["dynamodb"]["NewImage"].pop("day")
    poison["dynamodb"]["SequenceNumber"] = "100000000000000000001"
    answer = handlers("count_day").handler({"Records": [poison, *changes]}, cloud.invocation())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "100000000000000000001"}]}
    assert stats(handlers, traded)["orders"]["confirmed"] == 1


def test_an_item_that_expires_takes_nothing_from_its_day(
    cloud: Any, handlers: Handlers, traded: date
) -> None:
    handler = handlers("count_day").handler
    handler({"Records": cloud.changes()}, cloud.invocation())
    for item in cloud.items(cloud.tables.outcomes):
        key = {name: {"S": item[name]} for name in ("order_id", "type")}
        cloud.client("dynamodb").delete_item(TableName=cloud.tables.outcomes, Key=key)
    changes = cloud.changes()
    assert "REMOVE" in {change["eventName"] for change in changes}
    assert handler({"Records": changes}, cloud.invocation()) == {"batchItemFailures": []}
    assert stats(handlers, traded)["orders"]["confirmed"] == 1


def test_a_rebuild_of_lost_days_is_what_the_streams_had_made_of_them(
    cloud: Any, handlers: Handlers, traded: date
) -> None:
    handlers("count_day").handler({"Records": cloud.changes()}, cloud.invocation())
    before = [stats(handlers, traded), stats(handlers)]
    for item in cloud.items(cloud.tables.days):
        key = {name: {"S": item[name]} for name in ("day", "source")}
        cloud.client("dynamodb").delete_item(TableName=cloud.tables.days, Key=key)
    assert stats(handlers, traded)["orders"]["confirmed"] == 0

    answer = handlers("rebuild_stats").handler({}, cloud.invocation(milliseconds_left=60_000))

    assert answer["done"]
    assert [stats(handlers, traded), stats(handlers)] == before
    handlers("count_day").handler({"Records": cloud.changes()}, cloud.invocation())
    assert [stats(handlers, traded), stats(handlers)] == before


def test_a_rebuild_reads_past_an_item_that_nobody_can_read_and_says_so(
    cloud: Any, handlers: Handlers, traded: date
) -> None:
    assert traded
    cloud.client("dynamodb").put_item(
        TableName=cloud.tables.deliveries,
        Item={"order_id": {"S": "poison"}, "message_id": {"S": "m"}},
    )
    answer = handlers("rebuild_stats").handler({}, cloud.invocation(milliseconds_left=60_000))
    assert answer["done"]
    assert answer["begun"]["unreadable"] == 1
    assert "sent_at" in answer["begun"]["fault"]
    assert stats(handlers)["emails"] == 5


def test_a_rebuild_without_time_does_nothing_yet_and_can_be_gone_on_with(
    cloud: Any, handlers: Handlers, traded: date
) -> None:
    handler = handlers("rebuild_stats").handler
    answer = handler({}, cloud.invocation(milliseconds_left=1_000))
    assert not answer["done"]
    assert stats(handlers, traded)["orders"]["confirmed"] == 0
    again = {"begun": answer["begun"]}
    assert handler(again, cloud.invocation(milliseconds_left=60_000))["done"]
    assert stats(handlers, traded)["orders"]["confirmed"] == 1


def test_of_two_rebuilds_at_once_the_newer_comes_to_its_end(cloud: Any, traded: date) -> None:
    assert traded
    rebuild = bootstrap.rebuild_stats()
    older = rebuild(None, lambda: True)
    newer = rebuild(None, lambda: True)
    with pytest.raises(Overtaken):
        rebuild(older, never)
    assert rebuild(newer, never).at == DONE
    # Nothing of the older one is left.
    read = {item["day"].partition("|")[0] for item in cloud.items(cloud.tables.days)}
    assert read == {"#generations", newer.generation}


def test_a_rebuild_that_was_done_twice_is_done_once(cloud: Any, traded: date) -> None:
    rebuild = bootstrap.rebuild_stats()
    last = Rebuild(rebuild(None, lambda: True).generation, cloud.tables.sales)
    assert rebuild(last, never).at == DONE
    before = days_of(cloud).days([traded, TODAY])
    assert rebuild(last, never).at == DONE
    assert days_of(cloud).days([traded, TODAY]) == before


def test_two_workers_at_the_same_share_add_it_once(cloud: Any) -> None:
    days = days_of(cloud)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda units: days.absorb("0", share(units=units)), [3, 1, 3, 2] * 4))
    assert days.figures(TODAY) == {"units": 3}


def test_a_share_that_moved_meanwhile_is_read_again(cloud: Any) -> None:
    """Between reading a share and writing it another worker adds a newer image."""

    class Slow:
        def __init__(self, client: Any) -> None:
            self._client = client
            self._others = [share(units=5), share(units=7)]

        def __getattr__(self, name: str) -> Any:
            if name == "transact_write_items" and self._others:
                days_of(cloud).absorb("0", self._others.pop(0))
            return getattr(self._client, name)

    slow = DynamoDays(Slow(cloud.client("dynamodb")), cloud.tables.days)
    assert slow.absorb("0", share(units=9))
    assert days_of(cloud).figures(TODAY) == {"units": 9}


@pytest.mark.parametrize("after", [False, True])
def test_wherever_the_worker_is_killed_a_share_and_its_day_move_together(
    cloud: Any, *, after: bool
) -> None:
    make = cloud.dying("dynamodb", "transact_write_items", after=after)
    with pytest.raises(cloud.Killed):
        DynamoDays(make("dynamodb"), cloud.tables.days).absorb("0", share(units=2))
    assert days_of(cloud).absorb("0", share(units=2)) is not after
    assert days_of(cloud).figures(TODAY) == {"units": 2}


def test_a_day_that_is_no_longer_kept_is_not_made_again(cloud: Any) -> None:
    gone = replace(share(units=1), day=TODAY - timedelta(days=KEPT_DAYS + 1))
    days = days_of(cloud)
    assert (
        use_cases.count_day(gone, generations=days.generations(), days=days, today=TODAY)
        == "expired"
    )
    assert cloud.items(cloud.tables.days) == []


@pytest.mark.parametrize(
    ("day", "status"), [("soon", 400), ("1999-01-01", 404), ("9999-12-31", 404)]
)
def test_a_day_that_is_not_there_is_answered_as_a_problem(
    cloud: Any, handlers: Handlers, day: str, status: int
) -> None:
    assert cloud
    answer = handlers("get_stats").handler({"queryStringParameters": {"day": day}}, None)
    assert answer["statusCode"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    body = json.loads(answer["body"])
    assert body["status"] == status
    if status == 400:
        assert [fault["field"] for fault in body["errors"]] == ["day"]


# What may happen: something is sold or mailed or becomes of an order; a part of what has not been
# delivered yet is, again or for the first time; a rebuild goes on by a page.
_actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("sell"), st.sampled_from("AB"), st.integers(1, 3), st.sampled_from([0, 1])
        ),
        st.tuples(st.just("mail"), st.sampled_from([0, 1])),
        st.tuples(
            st.just("end"),
            st.sampled_from(["placed", "confirmed", "rejected", "cancelled"]),
            st.sampled_from(["DECLINED", "OUT_OF_STOCK"]),
            st.sampled_from([0, 1]),
        ),
        st.tuples(st.just("deliver"), st.lists(st.integers(0, 30), max_size=6)),
        st.just(("rebuild",)),
    ),
    max_size=25,
)


@dataclass
class Trade:
    """What happens in the tables, and how much of it each day should say."""

    dynamodb: Any
    names: dict[str, str]
    images: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sold: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    expected: dict[date, Counter[str]] = field(default_factory=dict)

    def _day(self, ago: int) -> date:
        return TODAY - timedelta(days=ago)

    def _put(self, table: str, item: dict[str, Any]) -> None:
        self.dynamodb.put_item(TableName=self.names[table], Item=item)
        self.images.append((self.names[table], item))

    def _expect(self, day: date, **figures: int) -> None:
        self.expected.setdefault(day, Counter()).update(figures)

    def sell(self, sku: str, units: int, ago: int) -> None:
        day = self._day(ago)
        total = self.sold.setdefault((day.isoformat(), sku), [0, 0])
        total[0] += units
        total[1] += units * 100
        self._put(
            "sales",
            {
                "day": {"S": day.isoformat()},
                "sku": {"S": sku},
                "orders": {"N": "1"},
                "units": {"N": str(total[0])},
                "revenue_EUR": {"N": str(total[1])},
            },
        )
        self._expect(day, units=units, revenue_EUR=units * 100)

    def mail(self, ago: int) -> None:
        day = self._day(ago)
        self._put(
            "deliveries",
            {
                "order_id": {"S": "o"},
                "message_id": {"S": f"m{len(self.images)}"},
                "sent_at": {"S": f"{day.isoformat()}T23:59:59+00:00"},
            },
        )
        self._expect(day, emails=1)

    def days(self) -> list[Day]:
        """Return what the two days should be."""
        return [day_of(day, self.expected.get(day, {})) for day in BOTH]

    def end(self, outcome: str, reason: str, ago: int) -> None:
        day = self._day(ago)
        item = {
            "order_id": {"S": f"o{len(self.images)}"},
            "type": {"S": f"order.{outcome}.v1"},
            "day": {"S": day.isoformat()},
        }
        if outcome == "rejected":
            item["reason"] = {"S": reason}
            self._expect(day, **{f"refused_{reason}": 1})
        self._put("outcomes", item)
        self._expect(day, **{outcome: 1})


@pytest.fixture
def anew(cloud: Any) -> Callable[[], dict[str, str]]:
    """Return what empties the tables, which is much faster than making others."""
    names = {
        "sales": cloud.tables.sales,
        "outcomes": cloud.tables.outcomes,
        "deliveries": cloud.tables.deliveries,
        "days": cloud.tables.days,
    }
    dynamodb = cloud.client("dynamodb")

    def empty() -> dict[str, str]:
        for name in names.values():
            schema = dynamodb.describe_table(TableName=name)["Table"]["KeySchema"]
            keys = [attribute["AttributeName"] for attribute in schema]
            for item in dynamodb.scan(TableName=name)["Items"]:
                dynamodb.delete_item(TableName=name, Key={key: item[key] for key in keys})
        return names

    return empty


@settings(max_examples=10)
@given(actions=_actions)
def _days_are_what_happened(cloud: Any, anew: Any, actions: list[tuple[Any, ...]]) -> None:
    names = anew()
    dynamodb = cloud.client("dynamodb")
    days, trade = days_of(cloud), Trade(dynamodb, names)
    sources = Sources(dynamodb, **{name: table for name, table in names.items() if name != "days"})
    rebuilding: Rebuild | None = None

    def deliver(places: list[int]) -> None:
        generations = days.generations()
        for place in places:
            if place < len(trade.images):
                use_cases.count_day(
                    sources.share(*trade.images[place]),
                    generations=generations,
                    days=days,
                    today=TODAY,
                )

    def rebuild(*, whole: bool) -> Rebuild | None:
        stops = iter([False])
        done = use_cases.rebuild_stats(
            rebuilding,
            tables=sources,
            days=days,
            today=TODAY,
            hurry=never if whole else lambda: next(stops, True),
        )
        return None if done.at == DONE else done

    for name, *arguments in actions:
        if name == "deliver":
            deliver(*arguments)
        elif name == "rebuild":
            rebuilding = rebuild(whole=False)
        else:
            getattr(trade, name)(*arguments)
    # In the end everything has been delivered once at least, and a rebuild that was begun is done.
    deliver(list(range(len(trade.images)))[::-1])
    if rebuilding:
        rebuilding = rebuild(whole=True)
    assert days.days(BOTH) == trade.days()
    rebuild(whole=True)
    assert days.days(BOTH) == trade.days()


def test_days_made_from_the_streams_equal_days_made_from_the_tables_whatever_happens_meanwhile(
    cloud: Any, anew: Any
) -> None:
    _days_are_what_happened(cloud=cloud, anew=anew)
