"""Price lists on a real Postgres: applied once, however often read, and wherever a run dies."""

import csv
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from uuid import uuid4

import pytest
import sqlalchemy as sa

from inventory import imports
from inventory.adapters.books import SqlBooks
from inventory.adapters.imports import SqlImports
from inventory.adapters.tables import deliveries, outbox, stock
from inventory.domain import DeliveredProduct, Delivery, Listing
from inventory.imports import PriceList, get_import, import_stock
from inventory.use_cases import receive_stock
from shared.errors import OutOfTime, UnreadableMessage
from tests.support.postgres import second

HEADER = "sku,name,unit_price,currency,quantity"


class Died(Exception):
    """What ends a run half way."""


@dataclass
class Shelf:
    """The bucket, as a dictionary; `fails` is asked before each piece that is read."""

    content: bytes
    piece: int = 1000
    fails: Callable[[int], bool] = lambda _: False
    reports: list[bytes] = field(default_factory=list)

    @contextmanager
    def open(self, file: PriceList) -> Iterator["Shelf"]:  # noqa: ARG002
        """Open the only file there is."""
        yield self

    @property
    def size(self) -> int:
        """As S3 says it."""
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        """Read it in pieces."""
        for at in range(0, len(self.content), self.piece):
            if self.fails(at):
                raise Died
            yield self.content[at : at + self.piece]

    def put_report(self, file: PriceList, report: BinaryIO) -> str:
        """Keep it."""
        assert file.report_key.startswith("rejected/")
        self.reports.append(report.read())
        return f"v{len(self.reports)}"


@dataclass
class Published:
    """Notes for how long was to be published."""

    seconds: list[float] = field(default_factory=list)

    def publish(self, seconds: float) -> None:
        """Note it."""
        self.seconds.append(seconds)


def price_list(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows, ""]).encode()


def new_file() -> PriceList:
    return PriceList("bucket", f"incoming/{uuid4().hex}.csv", uuid4().hex)


def run(
    engine: sa.Engine,
    file: PriceList,
    shelf: Shelf,
    *,
    left: Callable[[], float] = lambda: 300.0,
    published: Published | None = None,
) -> dict[str, Any]:
    return import_stock(
        file,
        ledger=SqlImports(engine),
        files=shelf,
        publication=published or Published(),
        seconds_left=left,
    )


def row(postgres: sa.Engine, sku: str) -> Any:
    with postgres.connect() as connection:
        return connection.execute(sa.select(stock).where(stock.c.sku == sku)).one_or_none()


def listed(postgres: sa.Engine, sku: str) -> list[dict[str, Any]]:
    with postgres.connect() as connection:
        rows = connection.execute(
            sa.select(outbox.c.body["data"]).where(outbox.c.subject == sku).order_by(outbox.c.seq)
        )
        return list(rows.scalars())


def totals(postgres: sa.Engine) -> tuple[int, int]:
    """Return the units on the shelf, and those of the deliveries."""
    with postgres.connect() as connection:
        received = connection.scalar(sa.select(sa.func.sum(stock.c.received)))
        delivered = connection.scalar(sa.select(sa.func.sum(deliveries.c.units)))
    return int(received or 0), int(delivered or 0)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(imports, "BATCH", 10)
    return 10


def test_a_price_list_lists_products_and_receives_stock(postgres: sa.Engine) -> None:
    sku, published = uuid4().hex, Published()
    file = new_file()
    answer = run(postgres, file, Shelf(price_list(f"{sku},Mug ☕,900,EUR,7")), published=published)
    assert answer == {
        "key": file.key,
        "version": file.version,
        "rows": 1,
        "applied": 1,
        "rejected": 0,
        "units": 7,
        "report": None,
        "report_version": None,
        "duplicate": False,
    }
    found = row(postgres, sku)
    assert (found.received, found.available, found.version) == (7, 7, 1)
    fact = {"sku": sku, "version": 1, "name": "Mug ☕", "unit_price": 900, "currency": "EUR"}
    assert listed(postgres, sku) == [fact]
    assert published.seconds == [300 - imports.RESERVE]


def test_the_same_version_twice_counts_once_and_another_counts_again(postgres: sa.Engine) -> None:
    sku, file = uuid4().hex, new_file()
    shelf = Shelf(price_list(f"{sku},Mug,900,EUR,7", "?,,,,"))
    first = run(postgres, file, shelf)
    again = run(postgres, file, shelf)
    assert again == {**first, "duplicate": True}
    assert row(postgres, sku).received == 7
    assert len(shelf.reports) == 1
    run(postgres, PriceList(file.bucket, file.key, "another"), shelf)
    assert row(postgres, sku).received == 14


def test_a_product_is_published_only_when_what_customers_see_has_changed(
    postgres: sa.Engine,
) -> None:
    sku = uuid4().hex
    for price, quantity in ((900, 7), (900, 3), (950, 0)):
        run(postgres, new_file(), Shelf(price_list(f"{sku},Mug,{price},EUR,{quantity}")))
    assert [(fact["version"], fact["unit_price"]) for fact in listed(postgres, sku)] == [
        (1, 900),
        (2, 950),
    ]
    assert row(postgres, sku).received == 10


def test_of_two_rows_about_one_sku_the_units_add_up_and_the_later_price_stands(
    postgres: sa.Engine, small_batches: int
) -> None:
    near, far = uuid4().hex, uuid4().hex
    filler = [f"{uuid4().hex},Thing,1,EUR,1" for _ in range(small_batches)]
    rows = [f"{far},Mug,900,EUR,1", f"{near},Mug,900,EUR,1", f"{near},Cup,950,EUR,2"]
    answer = run(postgres, new_file(), Shelf(price_list(*rows, *filler, f"{far},Mug,800,USD,5")))
    assert answer["applied"] == 4 + small_batches
    assert (row(postgres, near).received, row(postgres, near).name) == (3, "Cup")
    assert (row(postgres, far).received, row(postgres, far).currency) == (6, "USD")
    # In one batch nobody has seen the first price; in two, customers may have.
    assert [fact["unit_price"] for fact in listed(postgres, near)] == [950]
    assert [fact["unit_price"] for fact in listed(postgres, far)] == [900, 800]


def test_faulty_rows_are_reported_and_the_rest_is_applied(postgres: sa.Engine) -> None:
    good, file = uuid4().hex, new_file()
    shelf = Shelf(price_list("MUG,Mug,9.00,EUR,many", f"{good},Mug,900,EUR,7", 'A,"B'))
    answer = run(postgres, file, shelf)
    assert (answer["rows"], answer["applied"], answer["rejected"]) == (3, 1, 2)
    assert (answer["report"], answer["report_version"]) == (
        file.key.replace("incoming/", "rejected/"),
        "v1",
    )
    assert row(postgres, good).received == 7
    (report,) = shelf.reports
    assert list(csv.DictReader(io.StringIO(report.decode()))) == [
        {
            "line": "2",
            "field": "unit_price quantity",
            "reason": "unit_price must be a whole number from 0 to 1000000000; "
            "quantity must be a whole number from 0 to 1000000",
            "row": "MUG,Mug,9.00,EUR,many",
        },
        {"line": "4", "field": "row", "reason": "unexpected end of data", "row": 'A,"B'},
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(5000), b"name;price\nMug;9\n"])
def test_a_file_that_is_no_price_list_harms_nothing_and_is_reported(
    postgres: sa.Engine, content: bytes
) -> None:
    before, shelf = totals(postgres), Shelf(content)
    answer = run(postgres, new_file(), shelf)
    assert (answer["rows"], answer["rejected"], answer["units"]) == (0, 1, 0)
    assert b"header" in shelf.reports[0]
    assert totals(postgres) == before


def test_a_file_that_is_too_large_is_not_read(
    postgres: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory.import_rows.MAX_FILE_BYTES", 50)
    sku = uuid4().hex
    shelf = Shelf(price_list(f"{sku},Mug,900,EUR,7"))
    assert run(postgres, new_file(), shelf)["rejected"] == 1
    assert b"a file may have 50; split it" in shelf.reports[0]
    assert row(postgres, sku) is None


@pytest.mark.parametrize("at", range(0, 2600, 300))
def test_wherever_a_run_dies_the_next_one_goes_on_and_nothing_counts_twice(
    postgres: sa.Engine, small_batches: int, at: int
) -> None:
    skus = [uuid4().hex for _ in range(5 * small_batches + 3)]
    content = price_list(*(f"{sku},Mug,900,EUR,2" for sku in skus), "?,,,,")
    file, shelf = new_file(), Shelf(content, piece=100, fails=lambda read: read >= at)
    with pytest.raises(Died):
        run(postgres, file, shelf)
    shelf.fails = lambda _: False
    answer = run(postgres, file, shelf)
    assert (answer["rows"], answer["applied"]) == (len(skus) + 1, len(skus))
    assert answer["units"] == 2 * len(skus)
    assert [row(postgres, sku).received for sku in skus] == [2] * len(skus)
    assert [len(listed(postgres, sku)) for sku in skus] == [1] * len(skus)
    assert b"\r\n55,sku name" in shelf.reports[-1]
    received, delivered = totals(postgres)
    assert received == delivered


def test_a_retry_goes_on_in_batches_of_another_size(
    postgres: sa.Engine, small_batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    skus = [uuid4().hex for _ in range(4 * small_batches)]
    content = price_list(*(f"{sku},Mug,900,EUR,2" for sku in skus))
    file, shelf = new_file(), Shelf(content, piece=100, fails=lambda read: read > 1500)
    with pytest.raises(Died):
        run(postgres, file, shelf)
    assert get_import({"key": file.key, "version": file.version}, ledger=SqlImports(postgres))[
        "rows_done"
    ] in (10, 20, 30)
    monkeypatch.setattr(imports, "BATCH", 17)
    shelf.fails = lambda _: False
    run(postgres, file, shelf)
    assert [row(postgres, sku).received for sku in skus] == [2] * len(skus)


def test_runs_of_one_file_side_by_side_apply_it_once(
    postgres: sa.Engine, small_batches: int
) -> None:
    skus = [uuid4().hex for _ in range(6 * small_batches)]
    content, file = price_list(*(f"{sku},Mug,900,EUR,2" for sku in skus)), new_file()
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        engines = [stack.enter_context(second(postgres)) for _ in range(4)]
        answers = list(pool.map(lambda engine: run(engine, file, Shelf(content)), engines))
    assert [answer["units"] for answer in answers] == [2 * len(skus)] * 4
    assert [row(postgres, sku).received for sku in skus] == [2] * len(skus)


def test_files_and_deliveries_of_the_same_products_side_by_side_add_up(
    postgres: sa.Engine, small_batches: int
) -> None:
    skus = [uuid4().hex for _ in range(3 * small_batches)]

    def import_them(engine: sa.Engine, order: list[str]) -> None:
        rows = (f"{sku},Mug,900,EUR,2" for sku in order)
        run(engine, new_file(), Shelf(price_list(*rows)))

    def deliver_them(engine: sa.Engine, order: list[str]) -> None:
        products = tuple(DeliveredProduct(sku, Listing("Mug", 900, "EUR"), 2) for sku in order)
        receive_stock(
            Delivery(uuid4().hex, products), books=SqlBooks(engine), announcements=Announced()
        )

    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        engines = [stack.enter_context(second(postgres)) for _ in range(4)]
        orders = [sorted(skus), skus[::-1], skus, sorted(skus)[::-1]]
        jobs = [import_them, import_them, deliver_them, deliver_them]
        calls = zip(jobs, engines, orders, strict=True)
        for done in [pool.submit(job, engine, lines) for job, engine, lines in calls]:
            done.result()
    assert [row(postgres, sku).received for sku in skus] == [8] * len(skus)
    assert [len(listed(postgres, sku)) for sku in skus] == [1] * len(skus)


class Announced:
    """Publishes nothing."""

    def flush(self, skus: Any) -> None:
        """Leave it to the relay."""


def test_a_run_without_time_left_stops_between_two_batches(
    postgres: sa.Engine, small_batches: int
) -> None:
    skus = [uuid4().hex for _ in range(3 * small_batches)]
    file, shelf = new_file(), Shelf(price_list(*(f"{sku},Mug,900,EUR,2" for sku in skus)))
    clock = iter([300.0, imports.RESERVE - 1])
    with pytest.raises(OutOfTime, match="14 s left after row 20"):
        run(postgres, file, shelf, left=lambda: next(clock))
    assert [row(postgres, sku) is not None for sku in skus] == [True] * 10 + [False] * 20
    run(postgres, file, shelf)
    assert [row(postgres, sku).received for sku in skus] == [2] * 30


def test_an_import_is_waiting_then_running_then_finished(
    postgres: sa.Engine, small_batches: int
) -> None:
    skus = [uuid4().hex for _ in range(2 * small_batches)]
    content = price_list(*(f"{sku},Mug,900,EUR,2" for sku in skus))
    file, ledger = new_file(), SqlImports(postgres)
    asked = {"key": file.key, "version": file.version}
    assert get_import(asked, ledger=ledger)["status"] == "waiting"
    with pytest.raises(Died):
        run(postgres, file, Shelf(content, piece=100, fails=lambda read: read > 800))
    running = get_import(asked, ledger=ledger)
    assert (running["status"], running["rows_done"]) == ("running", small_batches)
    first_batch = content.decode().splitlines(keepends=True)[: 1 + small_batches]
    assert running["bytes_done"] == len("".join(first_batch))
    run(postgres, file, Shelf(content))
    finished = get_import(asked, ledger=ledger)
    assert (finished["status"], finished["bytes_done"]) == ("finished", len(content))
    assert finished["outcome"]["applied"] == len(skus)


@pytest.mark.parametrize("asked", [None, [], {}, {"key": "k"}, {"key": "k", "version": 1}])
def test_who_asks_for_an_import_must_say_which(postgres: sa.Engine, asked: Any) -> None:
    with pytest.raises(UnreadableMessage, match="key and version"):
        get_import(asked, ledger=SqlImports(postgres))
