"""What a report says of its days."""

import csv
import io
import xml.etree.ElementTree as ET
from datetime import date, timedelta

import pytest

from notifications.adapters import report
from notifications.domain import Day, day_of
from notifications.requests import InvalidRequest, ReportSales
from notifications.requests import report as read
from notifications.use_cases import day_to_report

TODAY = date(2026, 11, 25)
QUIET = day_of(date(2026, 11, 23), {})
BUSY = day_of(
    date(2026, 11, 24),
    {
        "placed": 5,
        "confirmed": 3,
        "rejected": 1,
        "cancelled": 1,
        "refused_DECLINED": 1,
        "units": 7,
        "emails": 10,
        "revenue_EUR": 123450,
        "revenue_USD": 5,
    },
)
SVG = "{http://www.w3.org/2000/svg}"


def bars(days: list[Day]) -> list[tuple[str, float]]:
    """Return what each bar says of itself, and its height."""
    root = ET.fromstring(report.chart(days))  # noqa: S314 (our own)
    return [
        (str(rect[0].text), float(rect.attrib["height"]))
        for rect in root.iter(f"{SVG}rect")
        if len(rect)
    ]


def test_the_table_has_a_row_for_each_day_and_a_column_for_whatever_any_day_has() -> None:
    rows = list(csv.DictReader(io.StringIO(report.table([QUIET, BUSY]))))
    assert [row["day"] for row in rows] == ["2026-11-23", "2026-11-24"]
    quiet, busy = ({name: text for name, text in row.items() if name != "day"} for row in rows)
    assert set(quiet.values()) == {"0"}
    assert busy == {
        "placed": "5",
        "confirmed": "3",
        "rejected": "1",
        "cancelled": "1",
        "units": "7",
        "emails": "10",
        "revenue_EUR": "123450",
        "revenue_USD": "5",
        "refused_DECLINED": "1",
    }


def test_the_chart_draws_each_outcome_as_high_as_it_is_many() -> None:
    drawn = dict(bars([QUIET, BUSY]))
    assert set(drawn) == {
        "2026-11-24: 3 confirmed",
        "2026-11-24: 1 rejected",
        "2026-11-24: 1 cancelled",
    }
    one = drawn["2026-11-24: 1 rejected"]
    assert drawn["2026-11-24: 3 confirmed"] == pytest.approx(3 * one, abs=0.2)
    assert drawn["2026-11-24: 1 cancelled"] == one > 10


def test_days_without_an_order_are_drawn_too() -> None:
    assert bars([QUIET]) == []


def test_the_mail_says_the_day_in_figures_and_where_the_files_are() -> None:
    mail = report.mail(BUSY, "operator@example.org", ["s3://reports/a.csv"])
    assert mail.recipient == "operator@example.org"
    assert mail.subject == "Sales of 2026-11-24: 3 orders confirmed"
    assert "Revenue: 1,234.50 EUR, 0.05 USD" in mail.body
    assert "DECLINED: 1" in mail.body
    assert "s3://reports/a.csv" in mail.body


def test_a_day_is_reported_when_it_is_over() -> None:
    assert day_to_report(None, TODAY) == TODAY - timedelta(days=1)
    assert day_to_report(date(2026, 11, 1), TODAY) == date(2026, 11, 1)
    for wrong in (TODAY, TODAY + timedelta(days=1), date(2020, 1, 1)):
        with pytest.raises(ValueError, match=r"^day: "):
            day_to_report(wrong, TODAY)


def test_what_is_wished_is_read_by_name_and_a_schedule_wishes_nothing() -> None:
    assert read({"source": "aws.events", "detail": {}}) == ReportSales(None, again=False)
    assert read({"day": "2026-11-24", "again": True}) == ReportSales(date(2026, 11, 24), again=True)
    for event, field in (({"again": "yes"}, "again"), ({"day": "soon"}, "day"), (7, "")):
        with pytest.raises(InvalidRequest) as refused:
            read(event)
        assert [fault.field for fault in refused.value.faults] == [field]
