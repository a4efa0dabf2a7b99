"""How a price list is read: every fault is named, and none costs more than its own row."""

import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from inventory.domain import DeliveredProduct, Listing
from inventory.import_rows import (
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    NoPriceList,
    Record,
    Rejection,
    lines_of,
    records_of,
    refuse_size,
)

HEADER = b"sku,name,unit_price,currency,quantity\n"
GOOD = b"MUG,Mug,900,EUR,7\n"
MUG = DeliveredProduct("MUG", Listing("Mug", 900, "EUR"), 7)


def records(content: bytes, *, chunk: int = 7) -> list[Record]:
    """Read it as it would come: in pieces that end anywhere."""
    return list(records_of(content[at : at + chunk] for at in range(0, len(content), chunk)))


def refusal(content: bytes) -> Rejection:
    with pytest.raises(NoPriceList) as refused:
        records(content)
    return refused.value.rejection


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_rows_are_read_wherever_the_pieces_end(chunk: int) -> None:
    content = HEADER + GOOD + "TEE,Tee ☕,450,EUR,0\n".encode()
    tee = DeliveredProduct("TEE", Listing("Tee ☕", 450, "EUR"), 0)
    assert records(content, chunk=chunk) == [
        Record(1, len(HEADER + GOOD), MUG, None),
        Record(2, len(content), tee, None),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + HEADER + GOOD, id="a byte order mark"),
        pytest.param((HEADER + GOOD).replace(b"\n", b"\r\n"), id="Windows' line ends"),
        pytest.param((HEADER + GOOD).rstrip(), id="no line end at the end"),
        pytest.param(HEADER + b"\n" + GOOD + b"\r\n \n", id="empty lines"),
        pytest.param(b"quantity,sku,currency,name,unit_price\n7,MUG,EUR,Mug,900", id="any order"),
        pytest.param(HEADER + b'"MUG", "Mug",900 , EUR, 7 \n', id="spaces"),
    ],
)
def test_what_spreadsheets_write_is_read(content: bytes) -> None:
    assert [record.product for record in records(content)] == [MUG]


def test_quoted_names_hold_commas_and_quotes() -> None:
    (record,) = records(HEADER + b'MUG,"Mug, ""blue""",900,EUR,7\n')
    assert record.product is not None
    assert record.product.listing.name == 'Mug, "blue"'


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (b"M UG,Mug,900,EUR,7", "sku", "1 to 64 of A-Z"),
        (b",Mug,900,EUR,7", "sku", "1 to 64 of A-Z"),
        (b"MUG,,900,EUR,7", "name", "1 to 200 printable"),
        (b"MUG," + b"x" * 201 + b",900,EUR,7", "name", "1 to 200 printable"),
        (b"MUG,Mu\x00g,900,EUR,7", "name", "1 to 200 printable"),
        (b"MUG,Mug,9.00,EUR,7", "unit_price", "a whole number from 0 to 1000000000"),
        (b"MUG,Mug,-1,EUR,7", "unit_price", "a whole number"),
        (b"MUG,Mug,1000000001,EUR,7", "unit_price", "a whole number"),
        ("MUG,Mug,٣,EUR,7".encode(), "unit_price", "a whole number"),
        (b"MUG,Mug,900,eur,7", "currency", "one of EUR, GBP, USD"),
        (b"MUG,Mug,900,EUR,1000001", "quantity", "a whole number from 0 to 1000000"),
        (b"MUG,Mug,900,EUR,", "quantity", "a whole number"),
        (b"MUG,Mug,,EUR,many", "unit_price quantity", "unit_price must"),
        (b"MUG,Mug,900,EUR", "row", "4 cells where the header has 5"),
        (b"MUG,Mug,900,EUR,7,8", "row", "6 cells where the header has 5"),
        (b'MUG,"Mug,900,EUR,7', "row", "unexpected end of data"),
        (b"MUG,M\xfcg,900,EUR,7", "row", "byte 6 is no UTF-8"),
        (b"MUG," + b"x" * MAX_LINE_BYTES + b",900,EUR,7", "row", f"may have {MAX_LINE_BYTES}"),
    ],
)
def test_a_faulty_row_is_named_by_line_field_and_reason_and_costs_no_other(
    row: bytes, field: str, reason: str
) -> None:
    before, faulty, after = records(HEADER + GOOD + row + b"\r\n" + GOOD, chunk=1000)
    assert before.product == after.product == MUG
    assert faulty.product is None
    assert faulty.rejection is not None
    assert (faulty.rejection.line, faulty.rejection.field) == (3, field)
    assert reason in faulty.rejection.reason
    assert faulty.rejection.row == row[:MAX_LINE_BYTES].decode(errors="replace")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the first line must name the columns"),
        (b"PK\x03\x04\x14\x00\x08\x00\x08\x00" + bytes(range(256)) * 50, "must name the columns"),
        (HEADER.decode().encode("utf-16"), "must name the columns"),
        (HEADER.replace(b",", b";") + GOOD, "must name the columns"),
        (b"sku,name,price,currency,quantity\n" + GOOD, "must name the columns"),
        (b"sku,sku,unit_price,currency,quantity\n" + GOOD, "must name the columns"),
        (GOOD, "must name the columns"),
        (b"x" * 1_000_000, "must name the columns"),
        ((HEADER + GOOD).replace(b"\n", b"\r"), "must name the columns"),
    ],
)
def test_what_is_no_price_list_is_refused_as_a_whole(content: bytes, reason: str) -> None:
    refused = refusal(content)
    assert (refused.line, refused.field) == (1, "header")
    assert reason in refused.reason
    assert len(refused.row) <= 200


def test_a_file_may_have_so_many_bytes_and_not_one_more() -> None:
    refuse_size(MAX_FILE_BYTES)
    with pytest.raises(NoPriceList, match=f"{MAX_FILE_BYTES + 1} bytes: a file may have"):
        refuse_size(MAX_FILE_BYTES + 1)


def test_rows_beyond_the_most_are_not_read_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory.import_rows.MAX_ROWS", 2)
    read: list[Record] = []
    with pytest.raises(NoPriceList) as refused:
        read.extend(records_of([HEADER + GOOD * 3]))
    assert refused.value.rejection.line == 4
    assert "may have 2 rows" in refused.value.rejection.reason
    assert len(records(HEADER + GOOD * 2)) == 2


def test_an_endless_line_is_not_kept_in_memory() -> None:
    tracemalloc.start()
    try:
        (line,) = lines_of(b"x" * 65_536 for _ in range(500))
        assert len(line.content) == MAX_LINE_BYTES + 1
        assert line.end == 500 * 65_536
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in records_of(_list_of(rows))) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1000)  # what is made once, such as the compiled patterns
    assert peak(20_000) < 1.5 * peak(2_000)


def _list_of(rows: int) -> Iterator[bytes]:
    """Yield a file of so many rows in pieces of a thousand lines."""
    yield HEADER
    for start in range(0, rows, 1000):
        yield b"".join(_row(n) for n in range(start, min(start + 1000, rows)))


def _row(n: int) -> bytes:
    return b"SKU-%06d,Thing %d,%d,EUR,%d\n" % (n, n, n % 1000, n % 50)


def test_lines_are_numbered_as_an_editor_does() -> None:
    numbers: Iterable[int] = [line.number for line in lines_of([b"a\n\nb", b"\nc"])]
    assert list(numbers) == [1, 2, 3, 4]
