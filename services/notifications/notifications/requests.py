"""What clients and operators may send, and every fault named by its field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from notifications.use_cases import Rebuild


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field."""

    field: str
    message: str


class InvalidRequest(Exception):
    """The request cannot be understood; carries every fault found."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = faults


def day(content: Mapping[str, Any]) -> date | None:
    """Read `day`, a date such as 2026-11-24; None if it is left out."""
    text = content.get("day")
    if text is None:
        return None
    # date.fromisoformat takes 20261124 and 2026-W48-2 too.
    if isinstance(text, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise InvalidRequest(Fault("day", "must be a date such as 2026-11-24"))


@dataclass(frozen=True, slots=True)
class ReportSales:
    """Report a day; None: yesterday. `again`: write its files anew, and mail nobody."""

    day: date | None
    again: bool


def report(event: Any) -> ReportSales:
    """Read `{"day", "again"}`; a schedule's event has neither."""
    if not isinstance(event, Mapping):
        raise InvalidRequest(Fault("", "must be an object"))
    again = event.get("again", False)
    if not isinstance(again, bool):
        raise InvalidRequest(Fault("again", "must be true or false"))
    return ReportSales(day(event), again)


def rebuild(event: Any) -> Rebuild | None:
    """Read `{"begun": …}`, how far a rebuild has come; `{}` begins one."""
    if not isinstance(event, Mapping):
        raise InvalidRequest(Fault("", "must be an object"))
    if event.get("begun") is None:
        return None
    try:
        return msgspec.convert(event["begun"], Rebuild)
    except msgspec.ValidationError as error:
        raise InvalidRequest(Fault("begun", str(error))) from error
