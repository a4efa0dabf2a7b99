"""Publishes after the commit, without ever undoing what was committed."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from aws_lambda_powertools import Logger
from sqlalchemy.exc import SQLAlchemyError

from orders.adapters.order_book import SAGA
from shared.outbox import EVENTS, Deliver, Outbox, Waiting


class OutboxAnnouncements:
    """Flushes an order's outbox now; what fails stays in it for the relay."""

    def __init__(self, outbox: Outbox, log: Logger) -> None:
        self._outbox = outbox
        self._log = log

    def flush(self, order_id: UUID) -> None:
        """Publish what waits about the order; a failure is logged, and the relay tries again.

        That a step runs proves that the saga has started, so its start comes off the relay's
        list too.
        """
        try:
            self._outbox.flush(str(order_id), (EVENTS, SAGA))
        except SQLAlchemyError as error:
            # The effect is committed and the rows with it: failing now would only repeat it.
            self._log.warning("announcement_deferred", extra={"cause": str(error)})


def facts_only(publish: Deliver) -> Deliver:
    """Return a `Deliver` that publishes facts and takes every saga's start for done."""

    def deliver(rows: Sequence[Waiting]) -> Mapping[int, str]:
        return publish([row for row in rows if row.destination == EVENTS])

    return deliver
