"""Many buyers at the same moment: the last item has one owner, and nobody waits in a circle."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from inventory.adapters.books import SqlBooks
from inventory.adapters.tables import outbox, reservations, stock
from inventory.domain import DeliveredProduct, Delivery, Listing, Outcome, Reason, Release, Reserve
from inventory.use_cases import receive_stock, release, reserve
from tests.support.postgres import second
from tests.support.profiles import LONG

BUYERS = 16
ROUNDS = 1000 if LONG else 100
MUG = Listing("Mug", 900, "EUR")
RESERVED, SOLD_OUT = Outcome("reserved"), Outcome("refused", Reason.OUT_OF_STOCK)

# What one buyer does on books of his own; the number says which buyer he is.
Shopping = Callable[[int, SqlBooks], list[Outcome]]


class Unannounced:
    """Leaves everything in the outbox."""

    def flush(self, skus: object) -> None:
        """Publish nothing."""


@pytest.fixture(scope="module")
def buyers(postgres: sa.Engine) -> Iterator[list[SqlBooks]]:
    """Return sixteen books, each on a connection of its own, as sixteen environments have."""
    with ExitStack() as stack:
        yield [SqlBooks(stack.enter_context(second(postgres))) for _ in range(BUYERS)]


def put(postgres: sa.Engine, quantities: list[int]) -> list[str]:
    """Put new skus on the shelf, of the given quantities; return them in order."""
    run = uuid4().hex
    skus = [f"{run}-{at:04}" for at in range(len(quantities))]
    products = (DeliveredProduct(sku, MUG, n) for sku, n in zip(skus, quantities, strict=True))
    receive_stock(
        Delivery(run, tuple(products)), books=SqlBooks(postgres), announcements=Unannounced()
    )
    return skus


def shop_together(buyers: list[SqlBooks], shopping: Shopping) -> list[list[Outcome]]:
    """Let all buyers shop at the same time; whatever one raises fails the test."""
    with ThreadPoolExecutor(len(buyers)) as pool:
        return list(pool.map(shopping, range(len(buyers)), buyers))


@contextmanager
def no_deadlocks(postgres: sa.Engine) -> Iterator[None]:
    """Check that the database broke no circle of waiting transactions meanwhile."""
    before = deadlocks(postgres)
    yield
    assert deadlocks(postgres) == before


def deadlocks(postgres: sa.Engine) -> int:
    # The connection that found a deadlock reports it when it is idle, within a second at most.
    count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with postgres.begin() as connection:
        connection.execute(sa.text("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()"))
        return int(connection.execute(sa.text(count)).scalar_one())


def test_of_sixteen_buyers_of_the_last_item_exactly_one_wins_each_round(
    postgres: sa.Engine, buyers: list[SqlBooks]
) -> None:
    last = put(postgres, [1] * ROUNDS)
    orders = [[uuid4() for _ in range(BUYERS)] for _ in last]
    together = threading.Barrier(BUYERS)

    def shopping(buyer: int, books: SqlBooks) -> list[Outcome]:
        outcomes = []
        try:
            for sku, round_ in zip(last, orders, strict=True):
                together.wait(30)
                outcomes.append(reserve(Reserve(round_[buyer], {sku: 1}), books=books).outcome)
        except BaseException:
            together.abort()  # the others need not wait for this one
            raise
        return outcomes

    with no_deadlocks(postgres):
        outcomes = shop_together(buyers, shopping)

    for round_ in zip(*outcomes, strict=True):
        assert Counter(round_) == {RESERVED: 1, SOLD_OUT: BUYERS - 1}
    # What the buyers were told is what the books say, and nothing is on the shelf twice.
    winners = {
        order
        for answers, buyers_orders in zip(zip(*outcomes, strict=True), orders, strict=True)
        for answer, order in zip(answers, buyers_orders, strict=True)
        if answer == RESERVED
    }
    assert holders(postgres, [order for round_ in orders for order in round_]) == winners
    assert shelf(postgres, last) == [(0, 1, 0)] * ROUNDS


def test_buyers_of_a_shelf_that_runs_low_empty_it_and_tell_of_each_low_state_once(
    postgres: sa.Engine, buyers: list[SqlBooks]
) -> None:
    """Most reserve at once; the last ones, who meet the threshold together, may not miss it."""
    stocked, tries = 100, 12
    for sku in put(postgres, [stocked] * (ROUNDS // 20)):
        together = threading.Barrier(BUYERS)

        def shopping(
            _: int, books: SqlBooks, sku: str = sku, together: threading.Barrier = together
        ) -> list[Outcome]:
            together.wait(30)
            return [reserve(Reserve(uuid4(), {sku: 1}), books=books).outcome for _ in range(tries)]

        with no_deadlocks(postgres):
            outcomes = Counter(each for one in shop_together(buyers, shopping) for each in one)

        assert outcomes == {RESERVED: stocked, SOLD_OUT: BUYERS * tries - stocked}
        assert shelf(postgres, [sku]) == [(0, stocked, 0)]
        # From the threshold down, one fact for each state, under consecutive versions.
        assert low_states(postgres, sku) == [(2 + at, 5 - at) for at in range(6)]


def test_large_orders_in_opposite_line_order_never_wait_in_a_circle(
    postgres: sa.Engine, buyers: list[SqlBooks]
) -> None:
    lines, rounds = 30, 12
    skus = put(postgres, [BUYERS * rounds] * lines)

    def shopping(buyer: int, books: SqlBooks) -> list[Outcome]:
        choice = random.Random(buyer)  # noqa: S311 - an order to read lines in
        outcomes = []
        for at in range(rounds):
            wanted = {
                0: skus,
                1: skus[::-1],
                2: choice.sample(skus, lines),
                3: choice.sample(skus, lines // 2),
            }[buyer % 4]
            order = uuid4()
            outcomes.append(reserve(Reserve(order, dict.fromkeys(wanted, 1)), books=books).outcome)
            # Undos cross the path of steps as well.
            if at % 2:
                outcomes.append(release(Release(order), books=books).outcome)
        return outcomes

    with no_deadlocks(postgres):
        outcomes = shop_together(buyers, shopping)

    answers = Counter(outcome.code for each in outcomes for outcome in each)
    assert answers == {"reserved": BUYERS * rounds, "released": BUYERS * rounds // 2}
    for available, reserved, shipped in shelf(postgres, skus):
        assert (available + reserved, shipped) == (BUYERS * rounds, 0)


def test_deliveries_and_orders_in_opposite_line_order_never_wait_in_a_circle(
    postgres: sa.Engine, buyers: list[SqlBooks]
) -> None:
    rounds = 12
    skus = put(postgres, [1000] * 20)

    def shopping(buyer: int, books: SqlBooks) -> list[Outcome]:
        outcomes = []
        wanted = skus if buyer % 2 else skus[::-1]
        for at in range(rounds):
            if buyer < BUYERS // 2:
                outcomes.append(
                    reserve(Reserve(uuid4(), dict.fromkeys(wanted, 1)), books=books).outcome
                )
            else:
                # A new price each time, so that versions are counted too.
                listing = Listing("Mug", 900 + at, "EUR")
                products = tuple(DeliveredProduct(sku, listing, 1) for sku in wanted)
                receive_stock(
                    Delivery(uuid4().hex, products), books=books, announcements=Unannounced()
                )
        return outcomes

    with no_deadlocks(postgres):
        outcomes = shop_together(buyers, shopping)

    moved = BUYERS // 2 * rounds
    assert Counter(each for one in outcomes for each in one) == {RESERVED: moved}
    assert shelf(postgres, skus) == [(1000, moved, 0)] * len(skus)


def test_a_circle_is_counted(postgres: sa.Engine) -> None:
    """The oracle of the tests above sees what it should see."""
    one, other = put(postgres, [1, 1])
    before = deadlocks(postgres)
    have_one = threading.Barrier(2)

    def lock(first: str, then: str, engine: sa.Engine) -> bool:
        with engine.connect() as connection:
            row = sa.select(stock.c.sku).with_for_update()
            connection.execute(row.where(stock.c.sku == first))
            have_one.wait(10)
            try:
                connection.execute(row.where(stock.c.sku == then))
            except sa.exc.OperationalError as error:
                return "deadlock detected" in str(error)
            return False

    with second(postgres) as mine, second(postgres) as yours, ThreadPoolExecutor(2) as pool:
        broken = list(pool.map(lock, (one, other), (other, one), (mine, yours)))

    assert sorted(broken) == [False, True]
    assert deadlocks(postgres) == before + 1


def low_states(postgres: sa.Engine, sku: str) -> list[tuple[int, int]]:
    """Return the version and the quantity of each fact that told of low stock, by version."""
    data = outbox.c.body["data"]
    with postgres.begin() as connection:
        rows = connection.execute(
            sa.select(data["version"].as_integer(), data["available"].as_integer()).where(
                outbox.c.subject == sku, outbox.c.type == "stock.low.v1"
            )
        )
        return sorted((version, available) for version, available in rows)


def holders(postgres: sa.Engine, orders: list[UUID]) -> set[UUID]:
    """Return those of `orders` that hold a reservation."""
    with postgres.connect() as connection:
        return set(
            connection.execute(
                sa.select(reservations.c.order_id).where(
                    reservations.c.order_id == sa.any_(sa.literal(orders, sa.ARRAY(sa.Uuid))),
                    reservations.c.status == "reserved",
                )
            ).scalars()
        )


def shelf(postgres: sa.Engine, skus: list[str]) -> list[tuple[int, ...]]:
    """Return how many of each sku are available, reserved and shipped, in sku order."""
    with postgres.connect() as connection:
        rows = connection.execute(
            sa.select(stock.c.available, stock.c.reserved, stock.c.shipped)
            .where(stock.c.sku == sa.any_(sa.literal(skus, sa.ARRAY(sa.Text))))
            .order_by(stock.c.sku)
        )
        return [tuple(row) for row in rows]
