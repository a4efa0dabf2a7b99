"""A payment gateway to develop against: it answers by token and keeps its own ledger.

    tok_visa      approves
    tok_declined  declines
    tok_error     fails before the money is captured, each time
    tok_timeout   captures the money, then fails to say so, each time

Its ledger stands in a schema of its own and commits by itself, as another company's would: a
rollback on our side takes nothing back.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from orders.adapters.tables import gateway_ledger
from orders.use_cases import ChargeResult
from shared.errors import TransientFault


class SandboxGateway:
    """The built-in gateway; both calls are idempotent by key."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def charge(self, key: str, *, amount: int, currency: str, token: str) -> ChargeResult:
        """Capture `amount` (minor units) once; a key that was reversed is declined."""
        if token == "tok_error":  # noqa: S105 - a name in the sandbox, not a secret
            raise TransientFault("gateway: 503 before the charge")
        wanted = "declined" if token == "tok_declined" else "captured"  # noqa: S105
        with self._engine.connect() as connection:
            connection.execute(
                insert(gateway_ledger)
                .values(
                    key=key,
                    status=wanted,
                    amount=amount,
                    currency=currency,
                    ref=f"ch_{key}",
                    captured_at=sa.func.now() if wanted == "captured" else None,
                )
                .on_conflict_do_nothing()
            )
            status = connection.execute(
                sa.select(gateway_ledger.c.status).where(gateway_ledger.c.key == key)
            ).scalar_one()
        if token == "tok_timeout":  # noqa: S105
            raise TransientFault("gateway: no answer after the charge")
        return ChargeResult(approved=status == "captured", ref=f"ch_{key}")

    def reverse(self, key: str) -> bool:
        """Give back what was captured under `key`, and bar it; True if money had been captured."""
        row = insert(gateway_ledger).values(
            key=key, status="barred", amount=0, currency="XXX", ref=f"rv_{key}"
        )
        with self._engine.connect() as connection:
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["key"],
                    set_={"status": "reversed", "reversed_at": sa.func.now()},
                    where=gateway_ledger.c.status == "captured",
                )
            )
            return bool(
                connection.scalar(
                    sa.select(gateway_ledger.c.status == "reversed").where(
                        gateway_ledger.c.key == key
                    )
                )
            )
