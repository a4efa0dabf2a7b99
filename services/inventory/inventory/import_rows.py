"""How a price list is read: a CSV, line by line, in memory that does not grow with the file.

Every record is one line: no field may hold a line break, so a quote that is never closed spoils
its own line and not the rest of the file.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from inventory.domain import (
    CURRENCIES,
    MAX_QUANTITY,
    MAX_UNIT_PRICE,
    DeliveredProduct,
    Listing,
    is_name,
    is_sku,
)

COLUMNS = ("sku", "name", "unit_price", "currency", "quantity")

MAX_FILE_BYTES = 50_000_000
MAX_LINE_BYTES = 4_096
"""The longest valid row has some 1000; what is longer is no row, and is not kept in memory."""
MAX_ROWS = 500_000

_WHOLE = re.compile(r"[0-9]{1,12}")
_BOM = b"\xef\xbb\xbf"
_SHOWN = 200  # characters of a line that stands for a whole file


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file: its number from 1, and where in the file the next one begins."""

    number: int
    content: bytes
    end: int

    @property
    def text(self) -> str:
        """The line as people see it; what is no UTF-8 shows as U+FFFD."""
        return self.content[:MAX_LINE_BYTES].decode(errors="replace").rstrip("\r")


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that was not applied: in which fields, why, and the line as it was."""

    line: int
    field: str
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class Record:
    """The file's n-th row, from 1: what it delivers, or why it cannot be applied."""

    number: int
    end: int
    product: DeliveredProduct | None
    rejection: Rejection | None


class NoPriceList(Exception):
    """A file, or what is left of it, that cannot be read as rows; `rejection` says why."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.reason)
        self.rejection = rejection


def refuse_size(size: int) -> None:
    """Raise NoPriceList for a file that is too large to be read in one run."""
    if size > MAX_FILE_BYTES:
        reason = f"{size} bytes: a file may have {MAX_FILE_BYTES}; split it"
        raise NoPriceList(Rejection(0, "file", reason, ""))


def records_of(chunks: Iterable[bytes]) -> Iterator[Record]:
    """Yield each row; raise NoPriceList at once if the header is none, late if rows are too many.

    Lines that hold nothing but spaces are no rows.
    """
    lines = lines_of(chunks)
    columns = _columns(next(lines, None))
    number = 0
    for line in lines:
        if not line.content.strip():
            continue
        if number == MAX_ROWS:
            reason = f"a file may have {MAX_ROWS} rows: this one and all after it were not read"
            raise NoPriceList(Rejection(line.number, "file", reason, line.text))
        number += 1
        product, faults = _read(line, columns)
        if faults:
            fields = " ".join(dict.fromkeys(field for field, _ in faults))
            reason = "; ".join(reason for _, reason in faults)
            rejection = Rejection(line.number, fields, reason, line.text)
            yield Record(number, line.end, None, rejection)
        else:
            yield Record(number, line.end, product, None)


def lines_of(chunks: Iterable[bytes]) -> Iterator[Line]:
    """Yield each line; of one that is too long, a little more than it may have."""
    begun = bytearray()
    number = end = 0
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            number += 1
            end += len(piece) + 1
            yield Line(number, bytes(begun + piece) if begun else piece, end)
            begun.clear()
        end += len(rest)
        begun += rest
        del begun[MAX_LINE_BYTES + 1 :]
    if begun:
        yield Line(number + 1, bytes(begun), end)


def _columns(header: Line | None) -> Sequence[str]:
    wanted = ",".join(COLUMNS)
    if header is None:
        raise NoPriceList(
            Rejection(1, "header", f"the file is empty: {wanted} must come first", "")
        )
    content = header.content.removeprefix(_BOM)
    try:
        columns = _cells(content)
    except (_Unreadable, csv.Error):
        columns = []
    if sorted(columns) != sorted(COLUMNS):
        shown = content[:_SHOWN].decode(errors="replace").rstrip("\r")
        reason = f"the first line must name the columns {wanted}, in any order"
        raise NoPriceList(Rejection(1, "header", reason, shown))
    return columns


class _Unreadable(Exception):
    """A line that is no text of a bearable length."""


def _cells(content: bytes) -> list[str]:
    if len(content) > MAX_LINE_BYTES:
        raise _Unreadable(f"a line may have {MAX_LINE_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _Unreadable(f"byte {error.start + 1} is no UTF-8") from error
    lines = [text.rstrip("\r")]
    return [cell.strip() for cell in next(csv.reader(lines, skipinitialspace=True, strict=True))]


def _read(
    line: Line, columns: Sequence[str]
) -> tuple[DeliveredProduct | None, Sequence[tuple[str, str]]]:
    """Return the product, or the faults as (field, reason)."""
    try:
        cells = _cells(line.content)
    except (_Unreadable, csv.Error) as error:
        return None, [("row", str(error))]
    if len(cells) != len(columns):
        return None, [("row", f"{len(cells)} cells where the header has {len(columns)} columns")]
    row = dict(zip(columns, cells, strict=True))
    if faults := list(_faults_of(row)):
        return None, faults
    listing = Listing(row["name"], int(row["unit_price"]), row["currency"])
    return DeliveredProduct(row["sku"], listing, int(row["quantity"])), ()


def _faults_of(row: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not is_sku(row["sku"]):
        yield "sku", "sku must be 1 to 64 of A-Z a-z 0-9 . _ -"
    if not is_name(row["name"]):
        yield "name", "name must be 1 to 200 printable characters"
    if row["currency"] not in CURRENCIES:
        yield "currency", f"currency must be one of {', '.join(sorted(CURRENCIES))}"
    for field, most in (("unit_price", MAX_UNIT_PRICE), ("quantity", MAX_QUANTITY)):
        text = row[field]
        if not _WHOLE.fullmatch(text) or int(text) > most:
            yield field, f"{field} must be a whole number from 0 to {most}"
