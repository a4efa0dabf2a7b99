"""How a price list becomes stock and listings: in batches, each of which commits with its mark.

One transaction for a whole file would hold every product of it locked for as long as the file
takes, and orders would fail meanwhile. So each batch commits alone, and with it how many rows are
done: a run that dies is taken up behind its last batch, by a retry that reads the file from the
start and applies nothing twice. A file means what its rows mean one after the other: quantities
add up, and of two rows about one sku the later one's name and price stand.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol, Self

from inventory.domain import DeliveredProduct
from inventory.import_rows import NoPriceList, Record, Rejection, records_of, refuse_size
from shared.errors import OutOfTime, UnreadableMessage

INCOMING, REJECTED = "incoming/", "rejected/"

BATCH = 2000
"""Rows in one transaction: few enough that an order which wants one of them waits unnoticed."""

RESERVE = 15.0
"""Seconds: no batch is begun with less left. A batch takes less than one, unless it waits."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """One version of one object under `incoming/`; another version is another file."""

    bucket: str
    key: str
    version: str

    @property
    def report_key(self) -> str:
        """Where its rejected rows go."""
        return REJECTED + self.key.removeprefix(INCOMING)


@dataclass(frozen=True, slots=True)
class Numbered:
    """What the file's n-th row delivers."""

    row: int
    product: DeliveredProduct


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows up to the `last`, which ends at byte `end`; the rejected ones are left out."""

    last: int
    end: int
    rows: Sequence[Numbered]

    def after(self, row: int) -> "Batch":
        """Return what comes after this row."""
        return replace(self, rows=[each for each in self.rows if each.row > row])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a file: counts of rows and units, and where its rejected rows stand."""

    rows: int
    applied: int
    rejected: int
    units: int
    report: str | None = None
    report_version: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come; `outcome` once it has ended."""

    rows_done: int
    bytes_done: int
    outcome: Mapping[str, Any] | None


class Ledger(Protocol):
    """The imports, and the stock that they change."""

    def begin(self, file: PriceList) -> Progress:
        """Note that the file is being imported; return how far it was already."""

    def apply(self, file: PriceList, batch: Batch) -> None:
        """Receive and list what the batch holds beyond the rows that are done, and note it."""

    def finish(self, file: PriceList, outcome: Mapping[str, Any]) -> None:
        """Note what came of it, once."""

    def find(self, key: str, version: str) -> Progress | None:
        """Return how far an import is; None if it has not begun."""


class Opened(Protocol):
    """A file's content, to be read once."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def chunks(self) -> Iterable[bytes]:
        """Yield it in pieces of bounded size."""


class Files(Protocol):
    """The bucket."""

    def open(self, file: PriceList) -> AbstractContextManager[Opened]:
        """Open a file; what cannot be read is a TransientFault."""

    def put_report(self, file: PriceList, report: BinaryIO) -> str:
        """Store its rejected rows; return the version of what was stored."""


class Publication(Protocol):
    """Publishes what waits in the outbox, for so many seconds; never raises for a publication."""

    def publish(self, seconds: float) -> None:
        """Publish, after the commits."""


def import_stock(
    file: PriceList,
    *,
    ledger: Ledger,
    files: Files,
    publication: Publication,
    seconds_left: Callable[[], float],
) -> dict[str, Any]:
    """Receive and list what a file holds, once; put its faulty rows beside it, with the reasons.

    Raise OutOfTime when the rest must wait for the next run, which goes on from there.
    """
    begun = ledger.begin(file)
    named = {"key": file.key, "version": file.version}
    if begun.outcome is not None:
        return {**named, **begun.outcome, "duplicate": True}
    with tempfile.TemporaryFile() as stored, Report(stored) as report:
        tally = _Tally(report)
        try:
            with files.open(file) as opened:
                refuse_size(opened.size)
                for batch in _batches(tally.counted(records_of(opened.chunks()))):
                    if batch.last <= begun.rows_done:
                        continue
                    if (left := seconds_left()) < RESERVE:
                        raise OutOfTime(f"{left:.0f} s left after row {tally.rows}")
                    ledger.apply(file, batch)
        except NoPriceList as refusal:
            report.add(refusal.rejection)
        outcome = tally.outcome()
        if report.rejections:
            version = files.put_report(file, report.rewound())
            outcome = replace(outcome, report=file.report_key, report_version=version)
    ledger.finish(file, outcome.as_data())
    publication.publish(seconds_left() - RESERVE)
    return {**named, **outcome.as_data(), "duplicate": False}


def get_import(asked: Any, *, ledger: Ledger) -> dict[str, Any]:
    """Return how far the import of `{"key", "version"}` is: waiting, running or finished."""
    fields = ("key", "version")
    if not isinstance(asked, dict) or not all(
        isinstance(asked.get(name), str) and asked[name] for name in fields
    ):
        raise UnreadableMessage("key and version must be texts: an object and its version")
    found = ledger.find(asked["key"], asked["version"])
    if found is None:
        return {"status": "waiting", "rows_done": 0, "bytes_done": 0, "outcome": None}
    return {
        "status": "running" if found.outcome is None else "finished",
        "rows_done": found.rows_done,
        "bytes_done": found.bytes_done,
        "outcome": found.outcome,
    }


class Report:
    """The rejected rows as CSV: on disk, since there may be as many as the file has."""

    def __init__(self, stored: BinaryIO) -> None:
        self._stored = stored
        self._text = io.TextIOWrapper(stored, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(("line", "field", "reason", "row"))
        self.rejections = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the file to whoever opened it."""
        self._text.detach()

    def add(self, rejection: Rejection) -> None:
        """Write one more."""
        self._writer.writerow((rejection.line, rejection.field, rejection.reason, rejection.row))
        self.rejections += 1

    def rewound(self) -> BinaryIO:
        """Return the file, to be read from its start."""
        self._text.flush()
        self._stored.seek(0)
        return self._stored


class _Tally:
    """Counts the rows as they go by, and hands the rejected ones to the report."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.rows = self._units = self._rejected = 0

    def counted(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.rows = record.number
            if record.product:
                self._units += record.product.quantity
            if record.rejection:
                self._rejected += 1
                self._report.add(record.rejection)
            yield record

    def outcome(self) -> Outcome:
        applied = self.rows - self._rejected
        return Outcome(self.rows, applied, self._report.rejections, self._units)


def _batches(records: Iterable[Record]) -> Iterator[Batch]:
    rows: list[Numbered] = []
    last = end = 0
    try:
        for record in records:
            last, end = record.number, record.end
            if record.product:
                rows.append(Numbered(record.number, record.product))
            if last % BATCH == 0:
                yield Batch(last, end, rows)
                rows = []
    except NoPriceList:
        # What came before is applied all the same.
        if rows:
            yield Batch(last, end, rows)
        raise
    if last % BATCH:
        yield Batch(last, end, rows)
