"""The only wiring: what each handler needs, from its settings."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from operations import use_cases
from operations.adapters.audit import SqlAuditor
from operations.adapters.databases import reading
from operations.domain import Finding, Patience
from shared.config import setting


def audit() -> Callable[[Any], Sequence[Finding]]:
    """Return `payload -> findings`."""
    usual = {
        name: int(setting(f"{name.upper()}_SECONDS")) for name in ("sagas", "outboxes", "effects")
    }
    auditor = SqlAuditor(
        reading(setting("ORDERS_DATABASE_URL")), reading(setting("INVENTORY_DATABASE_URL"))
    )
    check = partial(use_cases.audit, auditor=auditor)

    def run(payload: Any) -> Sequence[Finding]:
        # A schedule's event has none of these fields: the deployed settings hold then.
        asked = {name: payload[name] for name in usual if name in payload}
        return check(msgspec.convert(usual | asked, Patience))

    return run
