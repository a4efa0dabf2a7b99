"""The orders table. Every change of status commits with the fact that tells of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from orders.adapters.tables import orders, outbox, parked_orders
from orders.domain import Line, Order, ParkedSaga, Status, WaitingOrder, Waits
from shared.contracts.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderParked,
    OrderPlaced,
    OrderRejected,
)
from shared.outbox import fact_row, raw_row

SOURCE = "orderflow.orders"
SAGA = "saga"
"""The outbox destination of a saga's start; facts go to `shared.outbox.EVENTS`."""

_OUTBOX_COLUMNS = ("id", "destination", "type", "subject", "body")
_OPEN = (Status.PLACED, Status.PARKED)
_CUSTOMER_REQUEST = "CUSTOMER_REQUEST"

_COLUMNS = (
    orders.c.id,
    orders.c.customer_id,
    orders.c.email,
    orders.c.currency,
    orders.c.lines,
    orders.c.total,
    orders.c.status,
    orders.c.version,
    orders.c.placed_at,
    orders.c.reason,
    orders.c.closed_at,
)

# In words: SQLAlchemy would write rows of VALUES anew at each call, which took most of its time.
_PLACE = sa.text("""
    WITH placed AS (
        INSERT INTO orders (id, customer_id, email, lines, total, currency, status, version,
                            idempotency_key, request_hash, placed_at)
        VALUES (:order_id, :customer_id, :email, :lines, :total, :currency, :status, :version,
                :idempotency_key, :request_hash, :placed_at)
        ON CONFLICT ON CONSTRAINT orders_idempotency DO NOTHING
        RETURNING id
    ), queued AS (
        INSERT INTO outbox (id, destination, type, subject, body)
        SELECT waiting.* FROM placed CROSS JOIN (
            VALUES (:fact_id, :fact_destination, :fact_type, :fact_subject, :fact_body),
                (:start_id, :start_destination, :start_type, :start_subject, :start_body)
        ) waiting
    )
    SELECT id FROM placed
""").bindparams(
    *(sa.bindparam(name, type_=sa.Uuid) for name in ("order_id", "fact_id", "start_id")),
    *(sa.bindparam(name, type_=JSONB) for name in ("lines", "fact_body", "start_body")),
)

# An order with what it waits for, in one round trip.
_SEEN = sa.select(
    *_COLUMNS, parked_orders.c.step.label("parked_step"), parked_orders.c.parked_at
).join_from(orders, parked_orders, orders.c.id == parked_orders.c.order_id, isouter=True)


class SqlOrderBook:
    """Orders in Postgres."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # One statement is a transaction by itself and needs no BEGIN and no COMMIT: two round
        # trips saved.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")

    def place(
        self, order: Order, saga_input: dict[str, Any], key: str | None, fingerprint: str
    ) -> bool:
        """Insert the order and its outbox rows in one statement; False if the key is taken."""
        subject = str(order.id)
        fact = fact_row(_placed_fact(order), source=SOURCE, subject=subject)
        start = raw_row(SAGA, "saga.start", subject, saga_input)
        values = {
            "order_id": order.id,
            "customer_id": order.customer_id,
            "email": order.email,
            "lines": [_stored(line) for line in order.lines],
            "total": order.total,
            "currency": order.currency,
            "status": order.status.value,
            "version": order.version,
            "idempotency_key": key,
            "request_hash": fingerprint,
            "placed_at": order.placed_at,
            **{f"fact_{column}": fact[column] for column in _OUTBOX_COLUMNS},
            **{f"start_{column}": start[column] for column in _OUTBOX_COLUMNS},
        }
        with self._single.connect() as connection:
            return connection.scalar(_PLACE, values) is not None

    def placed_under(self, customer_id: str, key: str) -> tuple[Order, str] | None:
        """Return the order that holds this idempotency key, and its request's fingerprint."""
        with self._single.connect() as connection:
            row = connection.execute(
                sa.select(*_COLUMNS, orders.c.request_hash).where(
                    orders.c.customer_id == customer_id, orders.c.idempotency_key == key
                )
            ).one_or_none()
        return (_order(row), row.request_hash) if row else None

    def get(self, order_id: UUID) -> Order | None:
        """Return the order, or None."""
        with self._single.connect() as connection:
            row = connection.execute(_SEEN.where(orders.c.id == order_id)).one_or_none()
        return _seen(row) if row else None

    def page(self, customer_id: str, *, before: UUID | None, limit: int) -> Sequence[Order]:
        """Return the customer's orders, newest first, older than order `before`."""
        query = (
            _SEEN.where(orders.c.customer_id == customer_id)
            .order_by(orders.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(orders.c.id < before)
        with self._single.connect() as connection:
            return [_seen(row) for row in connection.execute(query)]

    def request_cancel(self, order_id: UUID) -> bool:
        """Note the customer's wish while the order is open; False if it is closed or unknown."""
        with self._single.connect() as connection:
            found = connection.scalar(
                sa.update(orders)
                .where(orders.c.id == order_id, orders.c.status.in_(_OPEN))
                .values(
                    cancel_requested_at=sa.func.coalesce(
                        orders.c.cancel_requested_at, sa.func.now()
                    )
                )
                .returning(orders.c.id)
            )
        return found is not None

    def confirm(self, order_id: UUID) -> Status:
        """Cross the pivot if nothing bars it; return the order's status either way."""
        return self._change(
            order_id,
            {"status": Status.CONFIRMED.value, "closed_at": sa.func.now()},
            orders.c.status == Status.PLACED,
            orders.c.cancel_requested_at.is_(None),
            orders.c.withdrawn_at.is_(None),
        )

    def withdraw(self, order_id: UUID) -> Status | None:
        """Bar a late confirmation; return the order's status, None if there is no such order."""
        with self._single.connect() as connection:
            connection.execute(
                sa.update(orders)
                .where(orders.c.id == order_id, orders.c.status != Status.CONFIRMED)
                .values(withdrawn_at=sa.func.coalesce(orders.c.withdrawn_at, sa.func.now()))
            )
        return self.status(order_id)

    def close(self, order_id: UUID, reason: str) -> Status:
        """Close an open order: CANCELLED if the customer asked for it, else REJECTED."""
        asked = orders.c.cancel_requested_at.is_not(None)
        return self._change(
            order_id,
            {
                "status": sa.case((asked, Status.CANCELLED.value), else_=Status.REJECTED.value),
                "reason": sa.case((asked, _CUSTOMER_REQUEST), else_=reason),
                "closed_at": sa.func.now(),
            },
            orders.c.status.in_(_OPEN),
        )

    def park(self, order_id: UUID, step: str, cause: str, task_token: str) -> Status:
        """Keep the token that resumes the saga, and tell that the order waits; twice is safe."""
        with self._engine.begin() as connection:
            row = connection.execute(
                sa.update(orders)
                .where(orders.c.id == order_id, orders.c.status == Status.PLACED)
                .values(status=Status.PARKED.value, version=orders.c.version + 1)
                .returning(*_COLUMNS)
            ).one_or_none()
            token = insert(parked_orders).values(
                order_id=order_id, step=step, cause=cause, task_token=task_token
            )
            connection.execute(
                token.on_conflict_do_update(
                    index_elements=["order_id"],
                    set_={
                        "step": token.excluded.step,
                        "cause": token.excluded.cause,
                        "task_token": token.excluded.task_token,
                        "parked_at": sa.func.now(),
                    },
                )
            )
            if row:
                order = _order(row)
                fact = OrderParked(
                    order_id=str(order.id),
                    version=order.version,
                    customer_id=order.customer_id,
                    email=order.email,
                    step=step,
                    cause=cause,
                )
                connection.execute(
                    sa.insert(outbox), fact_row(fact, source=SOURCE, subject=str(order.id))
                )
        return self._status(order_id)

    def status(self, order_id: UUID) -> Status | None:
        """Return the order's status, if there is such an order."""
        with self._single.connect() as connection:
            found = connection.scalar(sa.select(orders.c.status).where(orders.c.id == order_id))
        return Status(found) if found else None

    def parked(self, order_id: UUID) -> ParkedSaga | None:
        """Return what waits for an operator, whatever the order's status."""
        with self._single.connect() as connection:
            row = connection.execute(
                sa.select(parked_orders.c.step, parked_orders.c.task_token).where(
                    parked_orders.c.order_id == order_id
                )
            ).one_or_none()
        return ParkedSaga(*row) if row else None

    def waiting(self, *, after: UUID | None, limit: int) -> Sequence[WaitingOrder]:
        """Return what waits for an operator, oldest order first, younger than order `after`."""
        query = (
            sa.select(
                parked_orders.c.order_id,
                orders.c.status,
                parked_orders.c.step,
                parked_orders.c.cause,
                parked_orders.c.parked_at,
            )
            .join_from(parked_orders, orders, orders.c.id == parked_orders.c.order_id)
            .order_by(parked_orders.c.order_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(parked_orders.c.order_id > after)
        with self._single.connect() as connection:
            return [
                WaitingOrder(row.order_id, Status(row.status), row.step, row.cause, row.parked_at)
                for row in connection.execute(query)
            ]

    def unpark(self, order_id: UUID, task_token: str) -> None:
        """Forget a token that nobody waits for any more; a newer one stays."""
        with self._single.connect() as connection:
            connection.execute(
                sa.delete(parked_orders).where(
                    parked_orders.c.order_id == order_id, parked_orders.c.task_token == task_token
                )
            )

    def _change(
        self, order_id: UUID, values: Mapping[str, Any], *where: sa.ColumnElement[bool]
    ) -> Status:
        """Apply a conditional change of status with its fact; return the status that stands."""
        with self._engine.begin() as connection:
            row = connection.execute(
                sa.update(orders)
                .where(orders.c.id == order_id, *where)
                .values(version=orders.c.version + 1, **values)
                .returning(*_COLUMNS)
            ).one_or_none()
            if row:
                order = _order(row)
                connection.execute(
                    sa.insert(outbox),
                    fact_row(_closed_fact(order), source=SOURCE, subject=str(order.id)),
                )
                return order.status
        return self._status(order_id)

    def _status(self, order_id: UUID) -> Status:
        with self._single.connect() as connection:
            return Status(
                connection.execute(
                    sa.select(orders.c.status).where(orders.c.id == order_id)
                ).scalar_one()
            )


def _stored(line: Line) -> dict[str, Any]:
    return {"sku": line.sku, "quantity": line.quantity, "unit_price": line.unit_price}


def _order(row: Any) -> Order:
    return Order(
        id=row.id,
        customer_id=row.customer_id,
        email=row.email,
        currency=row.currency,
        lines=tuple(Line(**line) for line in row.lines),
        total=row.total,
        status=Status(row.status),
        version=row.version,
        placed_at=row.placed_at,
        reason=row.reason,
        closed_at=row.closed_at,
    )


def _seen(row: Any) -> Order:
    waits = Waits(row.parked_step, row.parked_at) if row.parked_step else None
    return replace(_order(row), parked=waits)


def _lines(order: Order) -> tuple[OrderLine, ...]:
    return tuple(OrderLine(line.sku, line.quantity, line.unit_price) for line in order.lines)


def _header(order: Order) -> dict[str, Any]:
    return {
        "order_id": str(order.id),
        "version": order.version,
        "customer_id": order.customer_id,
        "email": order.email,
        "currency": order.currency,
        "total": order.total,
    }


def _placed_fact(order: Order) -> OrderPlaced:
    return OrderPlaced(**_header(order), lines=_lines(order))


def _closed_fact(order: Order) -> OrderConfirmed | OrderRejected | OrderCancelled:
    if order.status is Status.CONFIRMED:
        return OrderConfirmed(**_header(order), lines=_lines(order))
    closed = OrderCancelled if order.status is Status.CANCELLED else OrderRejected
    return closed(**_header(order), reason=order.reason or "UNKNOWN")
