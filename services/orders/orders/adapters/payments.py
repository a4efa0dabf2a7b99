"""The payments table: one row an order, whose status says what may still happen to its money."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from orders.adapters.tables import payments


class SqlPayments:
    """Payments in Postgres; each method is one statement and commits by itself."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def open(self, order_id: UUID, amount: int, currency: str) -> str:
        """Note that a charge is about to be tried; return the payment's status."""
        with self._engine.connect() as connection:
            opened = connection.scalar(
                insert(payments)
                .values(order_id=order_id, status="pending", amount=amount, currency=currency)
                .on_conflict_do_nothing()
                .returning(payments.c.status)
            )
            return opened or self._status(connection, order_id)

    def settle(self, order_id: UUID, status: str, gateway_ref: str | None) -> bool:
        """Write the gateway's answer; False if a refund has overtaken the charge."""
        with self._engine.connect() as connection:
            settled = connection.scalar(
                sa.update(payments)
                .where(payments.c.order_id == order_id, payments.c.status.in_(["pending", status]))
                .values(status=status, gateway_ref=gateway_ref, updated_at=sa.func.now())
                .returning(payments.c.order_id)
            )
            return settled is not None

    def begin_refund(self, order_id: UUID) -> str:
        """Bar any later charge, leaving a tombstone if none was tried; return the status."""
        row = insert(payments).values(
            order_id=order_id, status="refunding", amount=0, currency="XXX"
        )
        with self._engine.connect() as connection:
            status = connection.scalar(
                row.on_conflict_do_update(
                    index_elements=["order_id"],
                    set_={"status": "refunding", "updated_at": sa.func.now()},
                    where=payments.c.status.in_(["pending", "charged", "refunding"]),
                ).returning(payments.c.status)
            )
            return status or self._status(connection, order_id)

    def end_refund(self, order_id: UUID, *, captured: bool) -> None:
        """Write that the gateway has reversed the charge, or that there was none."""
        with self._engine.connect() as connection:
            connection.execute(
                sa.update(payments)
                .where(payments.c.order_id == order_id, payments.c.status == "refunding")
                .values(status="refunded" if captured else "void", updated_at=sa.func.now())
            )

    @staticmethod
    def _status(connection: sa.Connection, order_id: UUID) -> str:
        return str(
            connection.execute(
                sa.select(payments.c.status).where(payments.c.order_id == order_id)
            ).scalar_one()
        )
