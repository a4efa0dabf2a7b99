"""The daily sales report: a table for programs, a chart for people, a mail that names both."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from xml.sax.saxutils import escape

from notifications.domain import Day, Mail, money

_OUTCOMES = ("placed", "confirmed", "rejected", "cancelled")
# How an order ends, and the colour of it: apart for eyes that tell no red from green.
_BARS = {"confirmed": "#0072b2", "cancelled": "#999999", "rejected": "#d55e00"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 300, 48, 56, 40


def files_of(day: date) -> tuple[str, str]:
    """Return the keys of a day's table and chart."""
    return f"sales/{day.isoformat()}.csv", f"sales/{day.isoformat()}.svg"


def table(days: Sequence[Day]) -> str:
    """Return a CSV with a row for each day; money in minor units, a column for each currency."""
    currencies = sorted({currency for day in days for currency in day.revenue})
    reasons = sorted({reason for day in days for reason in day.refusals})
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        [
            "day",
            *_OUTCOMES,
            "units",
            "emails",
            *(f"revenue_{currency}" for currency in currencies),
            *(f"refused_{reason}" for reason in reasons),
        ]
    )
    for day in days:
        rows.writerow(
            [
                day.day.isoformat(),
                *(day.orders[outcome] for outcome in _OUTCOMES),
                day.units,
                day.emails,
                *(day.revenue.get(currency, 0) for currency in currencies),
                *(day.refusals.get(reason, 0) for reason in reasons),
            ]
        )
    return out.getvalue()


def chart(days: Sequence[Day]) -> str:
    """Return an SVG: how the orders of each day ended, stacked."""
    highest = max([sum(day.orders[name] for name in _BARS) for day in days] + [1])
    floor = _HEIGHT - _BOTTOM
    step = (_WIDTH - _LEFT - 16) / len(days)
    title = f"Orders by outcome, {days[0].day} to {days[-1].day} (UTC)"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{title}</title>",
        "<style>text {font: 12px sans-serif}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20">{title}</text>',
    ]
    for at, (name, colour) in enumerate(_BARS.items()):
        left = _LEFT + at * 110
        parts.append(f'<rect x="{left}" y="30" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 15}" y="39">{name}</text>')
    for value in sorted({0, highest // 2, highest}):
        y = floor - (floor - _TOP) * value / highest
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - 16}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for at, day in enumerate(days):
        parts += _bar(day, _LEFT + at * step, step * 0.8, floor, (floor - _TOP) / highest)
    for at, anchor in ((0, "start"), (len(days) - 1, "end")):
        x = _LEFT + at * step + (step * 0.8 if anchor == "end" else 0)
        parts.append(
            f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="{anchor}">{days[at].day}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _bar(day: Day, x: float, width: float, floor: float, scale: float) -> list[str]:
    parts: list[str] = []
    y = floor
    for name, colour in _BARS.items():
        height = day.orders[name] * scale
        if not height:
            continue
        y -= height
        said = escape(f"{day.day}: {day.orders[name]} {name}")
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f' fill="{colour}"><title>{said}</title></rect>'
        )
    return parts


def mail(day: Day, recipient: str, places: Sequence[str]) -> Mail:
    """Tell the operator of the day, and where to read more."""
    revenue = [money(amount, currency) for currency, amount in sorted(day.revenue.items())]
    refusals = [f"  {reason}: {count}" for reason, count in sorted(day.refusals.items())]
    return Mail(
        recipient,
        f"Sales of {day.day}: {day.orders['confirmed']} orders confirmed",
        "\n".join(
            [
                f"Day: {day.day} (UTC)",
                *(f"Orders {name}: {day.orders[name]}" for name in _OUTCOMES),
                *refusals,
                f"Units sold: {day.units}",
                f"Revenue: {', '.join(revenue) or 'none'}",
                f"Mails sent: {day.emails}",
                "",
                *places,
                "",
            ]
        ),
    )


class S3Shelf:
    """Files in one bucket."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def put(self, files: Mapping[str, tuple[str, str]]) -> list[str]:
        """Write (or overwrite) files, `key -> (media type, text)`; return where they are."""
        for key, (media_type, text) in files.items():
            self._s3.put_object(
                Bucket=self._bucket, Key=key, Body=text.encode(), ContentType=media_type
            )
        return [f"s3://{self._bucket}/{key}" for key in files]
