"""Three orders through the deployed system, drawn as they happen, then checked.

Needs a local cloud that is up and deployed (`make demo` sees to both). Exits 0 if all is as it
should be, 1 if something is not, 2 if the demo could not run.
"""

import csv
import io
import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from botocore.exceptions import BotoCoreError, ClientError
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tools.import_stock import Imports, NoOutcome

DEADLINE = 60.0  # seconds, for each thing that is waited for
POLL_INTERVAL = 0.15  # seconds between two looks
CURRENCY = "EUR"
CUSTOMER = "demo"
EMAIL = "demo@example.com"
RECEIVED = "received"
MAX_QUANTITY = 999  # of one line, by the API
WIDE = 96  # from so many columns on, the orders stand side by side
MAX_LISTED = 12

FORWARD = ("Reserve Stock", "Charge Payment", "Create Shipment", "Confirm Order")
FINAL = {"CONFIRMED", "REJECTED", "CANCELLED"}
JSON = "-H 'Content-Type: application/json'"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STATUS_STYLE = {"CONFIRMED": "bold green", "REJECTED": "bold magenta", "PLACED": "bold cyan"}


class CannotRunError(Exception):
    """The demo cannot go on; says why, and what to do next."""

    def __init__(self, what: str, then: str) -> None:
        super().__init__(what)
        self.then = then


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the local cloud is; the defaults are those of `make env`."""

    endpoint: str
    postgres: str

    @classmethod
    def read(cls) -> "Settings":
        """Read the environment."""
        port = os.environ.get("ORDERFLOW_PORT", "4566")
        postgres_port = os.environ.get("ORDERFLOW_POSTGRES_PORT", "5466")
        return cls(
            os.environ.get("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}").rstrip("/"),
            os.environ.get("ORDERFLOW_POSTGRES", f"127.0.0.1:{postgres_port}"),
        )

    @property
    def api(self) -> str:
        """The API's base URL."""
        return f"{self.endpoint}/_aws/execute-api/orders-local/local"


@dataclass(frozen=True, slots=True)
class Product:
    """What the demo sells; each run receives `quantity` more."""

    sku: str
    name: str
    unit_price: int
    quantity: int


PRICE_LIST = Path(__file__).parents[1] / "demo/products.csv"


def products_in(path: Path) -> tuple[Product, ...]:
    """Read a price list that is known to be right."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Product(row["sku"], row["name"], int(row["unit_price"]), int(row["quantity"]))
            for row in csv.DictReader(file)
        )


PRODUCTS = MUG, TEAPOT, LAMP = products_in(PRICE_LIST)


@dataclass(slots=True)
class Order:
    """One order of the demo: what is asked for, what should come of it, and what came of it."""

    title: str
    lines: tuple[tuple[Product, int], ...]
    token: str
    status_expected: str
    reason_expected: str | None
    steps_expected: tuple[str, ...]
    mail_expected: str
    id: str = ""
    placed_at: datetime | None = None
    total: int = 0
    status: str = ""
    reason: str | None = None
    steps: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def confirmed(self) -> bool:
        """Whether stock and money should move."""
        return self.status_expected == "CONFIRMED"

    @property
    def total_expected(self) -> int:
        """The lines' prices added up, in minor units."""
        return sum(product.unit_price * quantity for product, quantity in self.lines)

    @property
    def over(self) -> bool:
        """Nothing more will happen: closed and its saga at rest, or waiting for an operator."""
        if any(step["kind"] == "operator" for step in self.steps):
            return True
        return self.status in FINAL and bool(self.steps) and all(s["ended_at"] for s in self.steps)


@dataclass(frozen=True, slots=True)
class Books:
    """Stock by sku and bin, and the gateway's money, at one moment."""

    stock: Mapping[str, Mapping[str, int]]
    captured: int
    reversed: int

    @property
    def kept(self) -> int:
        """Money captured minus money reversed, in minor units."""
        return self.captured - self.reversed


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    what: str
    actual: Any
    expected: Any

    @property
    def holds(self) -> bool:
        """Whether it is so."""
        return bool(self.actual == self.expected)


# ── the system, from outside ────────────────────────────────────────────────────────────────────


class System:
    """What the demo uses: the API, inventory's bucket, both databases, the sent mails."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Loopback only: a proxy from the environment would be in the way.
        self._http = httpx.Client(timeout=30, trust_env=False)
        self._aws = {
            "endpoint_url": settings.endpoint,
            "region_name": os.environ.get("AWS_REGION", "us-east-1"),
            "aws_access_key_id": os.environ.get("AWS_ACCESS_KEY_ID", "test"),
            "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
        }
        self._orders = self._engine("orders")
        self._inventory = self._engine("inventory")

    def _engine(self, role: str) -> sa.Engine:
        url = f"postgresql+psycopg://{role}@{self._settings.postgres}/{role}"
        return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 5})

    def check_up(self) -> None:
        """Raise CannotRunError if the local cloud does not answer."""
        self._fetch("GET", f"{self._settings.endpoint}/_localstack/health")

    def call(self, method: str, path: str, status: int, **options: Any) -> Any:
        """Call the API and return its JSON; raise CannotRunError for any status but `status`."""
        answer = self._fetch(method, self._settings.api + path, **options)
        if answer.status_code != status:
            if "does not correspond to a deployed" in answer.text:
                raise CannotRunError(
                    f"There is no API at {self._settings.api}.",
                    "Deploy it: make deploy",
                )
            raise CannotRunError(
                f"{method} {path} answered {answer.status_code}, not {status}: {answer.text[:500]}",
                "Look at the functions' logs: make logs SERVICE=orders",
            )
        return answer.json()

    def mails(self) -> list[dict[str, Any]]:
        """Return every mail that SES accepted, oldest first."""
        sent = self._fetch("GET", f"{self._settings.endpoint}/_aws/ses").json()["messages"]
        return sorted(sent, key=lambda mail: str(mail["Timestamp"]))

    def _fetch(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, url, **options)
        except httpx.TimeoutException as error:
            raise CannotRunError(
                f"{method} {url} gave no answer in time.", "See what runs: make status"
            ) from error
        except httpx.TransportError as error:
            raise CannotRunError(
                f"Nothing answers at {self._settings.endpoint} ({error}).",
                "Start the local cloud and deploy to it: make up deploy",
            ) from error

    def receive(self, price_list: Path) -> None:
        """Put a price list into inventory's bucket, and wait until all of it is applied."""
        try:
            imports = Imports("local", **self._aws)
            outcome = imports.outcome(imports.send(price_list), within=DEADLINE)
        except NoOutcome as error:
            raise CannotRunError(
                str(error), "Look at the functions' logs: make logs SERVICE=inventory"
            ) from error
        except (ClientError, BotoCoreError) as error:
            raise CannotRunError(
                f"The price list cannot be imported: {error}", "Deploy: make deploy"
            ) from error
        if outcome["rejected"]:
            raise CannotRunError(
                f"Rows of {price_list} were rejected: {imports.rejected(outcome)}",
                f"Mend them, then: make import FILE={price_list}",
            )

    def books(self) -> Books:
        """Read stock and money from the two databases."""
        ledger = self._query(
            self._orders,
            # What was reversed had been captured first.
            """SELECT coalesce(sum(amount) FILTER (WHERE captured_at IS NOT NULL), 0) AS captured,
                      coalesce(sum(amount) FILTER (WHERE reversed_at IS NOT NULL), 0) AS reversed
               FROM sandbox_gateway.ledger WHERE currency = :currency""",
            currency=CURRENCY,
        )[0]
        stock = self._query(
            self._inventory,
            """SELECT sku, received, available, reserved, shipped FROM stock
               WHERE sku = ANY(:skus) ORDER BY sku""",
            skus=[product.sku for product in PRODUCTS],
        )
        return Books(
            {row["sku"]: {name: row[name] for name in row if name != "sku"} for row in stock},
            int(ledger["captured"]),
            int(ledger["reversed"]),
        )

    def kept_of(self, order_id: str) -> int:
        """Return the money that the gateway keeps for one order."""
        rows = self._query(
            self._orders,
            "SELECT amount FROM sandbox_gateway.ledger WHERE key = :key AND status = 'captured'",
            key=order_id,
        )
        return sum(row["amount"] for row in rows)

    def _query(self, engine: sa.Engine, statement: str, **values: Any) -> list[dict[str, Any]]:
        try:
            with engine.connect() as connection:
                rows = connection.execute(sa.text(statement), values).mappings()
                return [dict(row) for row in rows]
        except sa.exc.OperationalError as error:
            raise CannotRunError(
                f"Postgres does not answer at {self._settings.postgres}.",
                "Start the local cloud: make up",
            ) from error
        except sa.exc.ProgrammingError as error:
            raise CannotRunError(
                f"A table is missing: {error.orig}", "Deploy, which migrates: make deploy"
            ) from error


def until[T](look: Callable[[], T], good: Callable[[T], bool]) -> T:
    """Look until it is good or the deadline has passed; return what was seen last."""
    deadline = time.monotonic() + DEADLINE
    while True:
        seen = look()
        if good(seen) or time.monotonic() > deadline:
            return seen
        time.sleep(POLL_INTERVAL)


# ── the story ───────────────────────────────────────────────────────────────────────────────────


def fill_shelf(system: System) -> dict[str, int]:
    """Import the price list, as `make import FILE=demo/products.csv` does; return units by sku."""
    system.receive(PRICE_LIST)
    return {product.sku: product.quantity for product in PRODUCTS}


def catalogue(system: System) -> list[dict[str, Any]]:
    """Return the catalogue once it shows the demo's products at their prices."""

    def read() -> list[dict[str, Any]]:
        products: list[dict[str, Any]] = []
        query = {"limit": "100"}
        while True:
            page = system.call("GET", "/products", 200, params=query)
            products += page["products"]
            if not page.get("next_cursor"):
                return products
            query["cursor"] = page["next_cursor"]

    wanted = {(product.sku, product.unit_price) for product in PRODUCTS}
    found = until(read, lambda seen: wanted <= {(p["sku"], p["unit_price"]) for p in seen})
    missing = wanted - {(product["sku"], product["unit_price"]) for product in found}
    if missing:
        raise CannotRunError(
            f"After {DEADLINE:.0f} s GET /products does not show {sorted(missing)}.",
            "See why orders' catalogue does not follow inventory: make logs SERVICE=orders",
        )
    return found


def plan(lamps: int) -> list[Order]:
    """Return the three orders; `lamps` are on the shelf, and the second asks for one more."""
    return [
        Order(
            title="1 · a good order",
            lines=((MUG, 2), (TEAPOT, 1)),
            token="tok_visa",  # noqa: S106 - a name in the sandbox, not a secret
            status_expected="CONFIRMED",
            reason_expected=None,
            steps_expected=FORWARD,
            mail_expected="confirmed",
        ),
        Order(
            title="2 · more than there is",
            lines=((MUG, 1), (LAMP, lamps + 1)),
            token="tok_visa",  # noqa: S106
            status_expected="REJECTED",
            reason_expected="OUT_OF_STOCK",
            steps_expected=("Reserve Stock", "Close Order"),
            mail_expected="not accepted",
        ),
        Order(
            title="3 · a declined card",
            lines=((MUG, 1), (TEAPOT, 1)),
            token="tok_declined",  # noqa: S106
            status_expected="REJECTED",
            reason_expected="DECLINED",
            steps_expected=("Reserve Stock", "Charge Payment", "Release Stock", "Close Order"),
            mail_expected="not accepted",
        ),
    ]


def place(system: System, order: Order) -> None:
    """Place it by HTTP."""
    body = {
        "customer_id": CUSTOMER,
        "email": EMAIL,
        "currency": CURRENCY,
        "lines": [{"sku": product.sku, "quantity": quantity} for product, quantity in order.lines],
        "payment_token": order.token,
    }
    key = {"Idempotency-Key": f"demo-{uuid.uuid4()}"}
    order.placed_at = datetime.now(UTC)
    answer = system.call("POST", "/orders", 202, json=body, headers=key)
    order.total, order.status, order.id = answer["total"], answer["status"], answer["order_id"]


def follow(system: System, orders: Sequence[Order]) -> None:
    """Place the orders, and keep them up to date until all are over or the deadline passes."""
    for order in orders:
        place(system, order)

    def look() -> bool:
        for order in orders:
            if not order.over:
                seen = system.call("GET", f"/orders/{order.id}/timeline", 200)
                order.status, order.steps = seen["status"], seen["steps"]
        return all(order.over for order in orders)

    until(look, bool)
    for order in orders:
        seen = system.call("GET", f"/orders/{order.id}", 200)
        order.status, order.reason = seen["status"], seen["reason"]


def mails_of(system: System, orders: Sequence[Order]) -> dict[str, list[dict[str, Any]]]:
    """Return the mails about each of the orders by its id; wait until the last one of each came."""
    ids = [order.id for order in orders]
    # Of an order that did not end as it should, nobody knows what to wait for.
    ended_well = [order for order in orders if order.status == order.status_expected]

    def read() -> dict[str, list[dict[str, Any]]]:
        sent = system.mails()
        return {each: [mail for mail in sent if each in mail["Subject"]] for each in ids}

    def complete(sent: Mapping[str, Sequence[Any]]) -> bool:
        return all(order.mail_expected in map(kind, sent[order.id]) for order in ended_well)

    return until(read, complete)


def kind(mail: Mapping[str, Any]) -> str:
    """Return what a mail announces: its subject's last part."""
    return str(mail["Subject"]).rpartition(": ")[2]


# ── what must be so ─────────────────────────────────────────────────────────────────────────────


def check_orders(orders: Sequence[Order]) -> list[Check]:
    """Each order ended as it should, by the steps that it should have taken."""
    checks = []
    for number, order in enumerate(orders, 1):
        checks += [
            Check(f"order {number}: status", order.status, order.status_expected),
            Check(f"order {number}: reason", order.reason, order.reason_expected),
            Check(f"order {number}: total", order.total, order.total_expected),
            Check(
                f"order {number}: steps",
                ", ".join(step["step"] for step in order.steps),
                ", ".join(order.steps_expected),
            ),
        ]
    return checks


def check_mails(
    orders: Sequence[Order], mails: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Check]:
    """Each order's customer was told of its end, once, and before it at most of its receipt.

    Messages have no order: where the end overtakes the receipt, the older fact is not mailed.
    """
    checks = []
    for number, order in enumerate(orders, 1):
        told = Counter(
            kind(m) for m in mails[order.id] if m["Destination"]["ToAddresses"] == [EMAIL]
        )
        if told[RECEIVED] == 1:
            del told[RECEIVED]
        checks.append(
            Check(f"order {number}: mails to {EMAIL}", dict(told), {order.mail_expected: 1})
        )
    return checks


def stock_expected(orders: Sequence[Order], before: Books) -> dict[str, dict[str, int]]:
    """Return the stock before, moved by the confirmed order."""
    stock = {sku: dict(bins) for sku, bins in before.stock.items()}
    for order in orders:
        if order.confirmed:
            for product, quantity in order.lines:
                stock[product.sku]["available"] -= quantity
                stock[product.sku]["shipped"] += quantity
    return stock


def check_stock(orders: Sequence[Order], before: Books, after: Books) -> list[Check]:
    """Stock moved by the confirmed order and by nothing else."""
    expected = stock_expected(orders, before)
    return [
        Check(f"stock of {sku}", dict(after.stock[sku]), bins) for sku, bins in expected.items()
    ]


def check_money(
    orders: Sequence[Order], before: Books, after: Books, kept: Mapping[str, int]
) -> list[Check]:
    """The gateway keeps the confirmed order's total more than before, and nothing else."""
    expected = sum(order.total_expected for order in orders if order.confirmed)
    checks = [Check("money kept by the gateway: change", after.kept - before.kept, expected)]
    for number, order in enumerate(orders, 1):
        should = order.total_expected if order.confirmed else 0
        checks.append(Check(f"order {number}: money kept", kept[order.id], should))
    return checks


# ── the screen ──────────────────────────────────────────────────────────────────────────────────


def decimal(amount: int) -> str:
    """Return minor units as people write them."""
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100:,}.{abs(amount) % 100:02}"


def money(amount: int) -> str:
    """Return minor units as people write them, with the currency."""
    return f"{decimal(amount)} {CURRENCY}"


def seconds(start: datetime | str | None, end: datetime | str) -> float:
    """Return the time between two moments, in seconds; a start that is unknown is the end."""
    first, last = (
        value if isinstance(value, datetime) else datetime.fromisoformat(value)
        for value in (start or end, end)
    )
    return max(0.0, (last - first).total_seconds())


def draw_step(order: Order, step: Mapping[str, Any]) -> RenderableType:
    """Draw one step: when it began, what it is, how long it took, and what came of it."""
    failed = [attempt["error"] for attempt in step["attempts"] if attempt["error"]]
    ended, undo = step["ended_at"], step["kind"] == "undo"
    colour = "magenta" if undo else "green"
    if not ended:
        glyph, colour = SPINNER[int(time.monotonic() * 10) % len(SPINNER)], "cyan"
    elif step["outcome"] == "refused" or (failed and step["outcome"] is None):
        glyph, colour = "✗", "red"
    else:
        glyph = "↺" if undo else "✓"
    if step["kind"] == "operator":
        glyph, colour = "!", "bold red"
    head = Table.grid(expand=True)
    head.add_column(width=6, style="dim")
    head.add_column(width=2, style=colour)
    head.add_column(ratio=1, style=colour, no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", width=7, style="dim")
    head.add_row(
        f"+{seconds(order.placed_at, step['started_at']):.1f}",
        glyph,
        step["step"],
        # No running clock: what is seen is a little late, and the number would jump back.
        f"{seconds(step['started_at'], ended):.2f} s" if ended else "",
    )
    notes = []
    if step["outcome"] == "refused":
        notes.append(Text(f"refused: {step['reason']}", "red"))
    elif step["outcome"] and step["outcome"] != "closed":
        notes.append(Text(step["outcome"], "dim"))
    if failed:
        notes.append(Text(f"attempt {len(step['attempts'])}; failed: {failed[-1]}", "yellow"))
    return Group(head, *(Padding(note, (0, 0, 0, 8)) for note in notes))


def draw_waiting(name: str, *, never: bool) -> RenderableType:
    """Draw a forward step that has not begun, or never will."""
    return Text(f"      {'-' if never else '·'} {name}", "bright_black", no_wrap=True)


def draw_order(order: Order) -> Panel:
    """Draw one order and its saga so far."""
    lines = Table.grid(expand=True)
    lines.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    lines.add_column(justify="right", no_wrap=True)
    for product, quantity in order.lines:
        lines.add_row(f"{quantity} x {product.name}", money(product.unit_price * quantity))
    lines.add_row(f"[dim]{order.token}[/]", f"[bold]{money(order.total_expected)}[/]")
    begun = [step["step"] for step in order.steps]
    undone = any(step["kind"] != "forward" for step in order.steps)
    forward = [draw_step(order, step) for step in order.steps if step["kind"] == "forward"]
    waiting = [
        draw_waiting(name, never=undone or order.status in FINAL)
        for name in FORWARD
        if name not in begun
    ]
    undo = [draw_step(order, step) for step in order.steps if step["kind"] != "forward"]
    heading = [Rule("undo", style="magenta", characters="╌")] if undo else []
    if not order.id:
        status = Text("to be placed", "dim")
    else:
        status = Text(order.status, STATUS_STYLE.get(order.status, "bold red"))
        if any(step["kind"] == "operator" for step in order.steps):
            status.append(", waits for an operator")
        elif order.over:
            status.append(f" after {seconds(order.placed_at, order.steps[-1]['ended_at']):.1f} s")
    border = STATUS_STYLE.get(order.status, "cyan").removeprefix("bold ") if order.over else "cyan"
    return Panel(
        Group(lines, Rule(style="bright_black"), *forward, *waiting, *heading, *undo),
        title=f"[bold]{order.title}[/]",
        title_align="left",
        subtitle=status,
        subtitle_align="right",
        border_style=border if order.id else "bright_black",
        box=box.ROUNDED,
    )


def draw_orders(orders: Sequence[Order], width: int) -> RenderableType:
    """Draw all orders: side by side where there is room."""
    panels = [draw_order(order) for order in orders]
    if width < WIDE:
        return Group(*panels)
    grid = Table.grid(expand=True)
    for _ in panels:
        grid.add_column(ratio=1)
    grid.add_row(*panels)
    return grid


def section(console: Console, title: str) -> None:
    """Print a heading."""
    console.print()
    console.print(Rule(f"[bold]{title}[/]", align="left", style="bright_black"))


def sheet(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns named in `numbers` stand to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left")
    return table


def show_products(
    console: Console, products: Sequence[Mapping[str, Any]], received: Mapping[str, int], now: Books
) -> None:
    """Print the catalogue, the demo's products first."""
    ours = {product.sku for product in PRODUCTS}
    wide = console.width >= WIDE
    numbers = ("price", "received", "on the shelf")
    table = sheet("sku", *(["name"] if wide else []), *numbers, numbers=numbers)
    first = sorted(products, key=lambda product: (product["sku"] not in ours, product["sku"]))
    for product in first[:MAX_LISTED]:
        sku = product["sku"]
        table.add_row(
            # Others' products may have brackets in their names: no markup in this.
            Text(sku, no_wrap=True),
            *([Text(product["name"])] if wide else []),
            f"{decimal(product['unit_price'])} {product['currency']}",
            f"+{received[sku]}" if sku in received else "",
            str(now.stock[sku]["available"]) if sku in now.stock else "",
            style="" if sku in ours else "dim",
        )
    console.print(table)
    if len(first) > MAX_LISTED:
        console.print(f"[dim]and {len(first) - MAX_LISTED} more[/]")


def show_mails(
    console: Console, orders: Sequence[Order], mails: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Print the orders' mails; of each, the reason or the total: its second paragraph's end."""
    wide = console.width >= WIDE
    table = sheet("order", *(["to"] if wide else []), "subject", "says", numbers=("order",))
    for number, order in enumerate(orders, 1):
        for mail in mails[order.id]:
            paragraphs = mail["Body"]["text_part"].split("\n\n")
            table.add_row(
                str(number),
                *([", ".join(mail["Destination"]["ToAddresses"])] if wide else []),
                Text(f"…{order.id[-6:]}: {kind(mail)}", no_wrap=True),
                paragraphs[min(1, len(paragraphs) - 1)].strip().splitlines()[-1],
            )
    console.print(table)


def moved(before: int, after: int) -> str:
    """Return a number's way."""
    return f"[dim]{before}[/]" if before == after else f"{before} → [bold]{after}[/]"


def show_books(
    console: Console, before: Books, after: Books, stock: Sequence[Check], kept: Check
) -> None:
    """Print stock and money before and after, each row with its verdict."""
    bins = ("received", "available", "reserved", "shipped")
    table = sheet("stock", *bins, "", numbers=bins)
    for (sku, was), check in zip(before.stock.items(), stock, strict=True):
        now = after.stock[sku]
        table.add_row(sku, *(moved(was[name], now[name]) for name in bins), verdict(check))
    console.print(table)
    sums = ("before", "after", "change", "should be")
    table = sheet(f"{CURRENCY} at the gateway", *sums, "", numbers=sums)
    for name, was_amount, amount in (
        ("captured", before.captured, after.captured),
        ("reversed", before.reversed, after.reversed),
    ):
        table.add_row(name, *map(decimal, (was_amount, amount, amount - was_amount)), "", "")
    amounts = map(decimal, (before.kept, after.kept, kept.actual, kept.expected))
    table.add_row("kept", *amounts, verdict(kept), style="bold")
    console.print(table)


def verdict(check: Check) -> str:
    """Return a mark."""
    return "[green]✓[/]" if check.holds else "[red]✗[/]"


def show_verdict(console: Console, checks: Sequence[Check]) -> None:
    """Print that all holds, or what does not."""
    faults = [check for check in checks if not check.holds]
    if not faults:
        console.print(
            f"[bold green]✓ All is as it should be[/]: {len(checks)} checks of status, reason, "
            "total, steps, mails, stock and money."
        )
        return
    table = Table(box=box.ROUNDED, border_style="red", title_justify="left",
                  title=f"[bold red]✗ {len(faults)} of {len(checks)} checks fail[/]")  # fmt: skip
    table.add_column("what")
    table.add_column("is", style="red")
    table.add_column("should be", style="green")
    for fault in faults:
        table.add_row(fault.what, Text(str(fault.actual)), Text(str(fault.expected)))
    console.print(table)
    console.print(
        "Orders placed by others meanwhile would show in stock and money. Otherwise look at the "
        "logs: make logs SERVICE=orders"
    )


def show_next(console: Console, settings: Settings, orders: Sequence[Order]) -> None:
    """Print three curl lines to go on with."""
    body = {
        "customer_id": CUSTOMER,
        "email": EMAIL,
        "currency": CURRENCY,
        "lines": [{"sku": MUG.sku, "quantity": 1}],
        "payment_token": "tok_visa",
    }
    data = json.dumps(body, separators=(",", ":"))
    for comment, command in (
        ("every step of the declined order", f"'{settings.api}/orders/{orders[-1].id}/timeline'"),
        ("your orders, newest first", f"'{settings.api}/orders?customer_id={CUSTOMER}&limit=3'"),
        (
            "one more order: tok_visa, tok_declined, tok_error or tok_timeout",
            f"-X POST '{settings.api}/orders' {JSON} -d '{data}'",
        ),
    ):
        # Never wrapped by us: a line must survive being pasted.
        console.print(Text(f"# {comment}", "dim"))
        console.print(Text(f"curl -sS {command}; echo"), soft_wrap=True)


# ── all of it ───────────────────────────────────────────────────────────────────────────────────


def run(console: Console, settings: Settings) -> bool:
    """Tell the whole story; True if everything is as it should be."""
    system = System(settings)
    system.check_up()
    section(console, "Products [dim]GET /products, after make import FILE=demo/products.csv[/]")
    received = fill_shelf(system)
    products = catalogue(system)
    before = system.books()
    show_products(console, products, received, before)

    lamps = before.stock[LAMP.sku]["available"]
    if lamps >= MAX_QUANTITY:
        raise CannotRunError(
            f"The shelf holds {lamps} of {LAMP.sku}; no order can ask for more than that.",
            "Sell some, or begin anew: make clean demo",
        )
    orders = plan(lamps)
    section(console, "Three orders [dim]POST /orders, then GET /orders/{id}/timeline[/]")
    if console.is_terminal:
        with Live(
            get_renderable=lambda: draw_orders(orders, console.width),
            console=console,
            refresh_per_second=10,
            transient=True,
            vertical_overflow="crop",
        ):
            follow(system, orders)
    else:
        follow(system, orders)
    console.print(draw_orders(orders, console.width))

    # Mails come last, so that by then everything else has happened too.
    mails = mails_of(system, orders)
    section(console, "Mails sent [dim]SES, these orders only[/]")
    show_mails(console, orders, mails)

    after = system.books()
    kept = {order.id: system.kept_of(order.id) for order in orders}
    stock_checks = check_stock(orders, before, after)
    money_checks = check_money(orders, before, after, kept)
    section(console, "Stock and money [dim]the two databases, before and after[/]")
    show_books(console, before, after, stock_checks, money_checks[0])

    checks = [
        *check_orders(orders), *check_mails(orders, mails), *stock_checks, *money_checks,
    ]  # fmt: skip
    show_verdict(console, checks)
    section(console, "Go on [dim]all calls: make curl-examples[/]")
    show_next(console, settings, orders)
    return all(check.holds for check in checks)


def main() -> int:
    """Run the demo; return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without UTF-8 shows question marks; it must not end the demo.
        sys.stdout.reconfigure(errors="replace")
    # A log has no width; a terminal knows its own.
    fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    console = Console(width=fixed, highlight=False)
    try:
        return 0 if run(console, Settings.read()) else 1
    except CannotRunError as reason:
        console.print(Text(f"✗ {reason}", "bold red"))
        console.print(Text(f"  {reason.then}"))
        return 2
    except KeyboardInterrupt:
        console.print("Stopped. The orders go on without you.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
