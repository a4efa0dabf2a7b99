"""Publishes after the commit, without ever undoing what was committed."""

from collections.abc import Collection
from datetime import timedelta

from aws_lambda_powertools import Logger
from sqlalchemy.exc import SQLAlchemyError

from shared.outbox import Outbox


class OutboxAnnouncements:
    """Flushes the outbox now; what fails stays in it for the relay."""

    def __init__(self, outbox: Outbox, log: Logger) -> None:
        self._outbox = outbox
        self._log = log

    def flush(self, skus: Collection[str]) -> None:
        """Publish what waits about `skus`; a failure is logged, and the relay tries again."""
        try:
            self._outbox.flush_all(skus)
        except SQLAlchemyError as error:
            # The effect is committed and the rows with it: failing now would only repeat it.
            self._log.warning("announcement_deferred", extra={"cause": str(error)})

    def publish(self, seconds: float) -> None:
        """Publish whatever waits, for so long: after an import, more than a flush would take."""
        try:
            self._outbox.relay(older_than=timedelta(0), seconds=seconds)
        except SQLAlchemyError as error:
            self._log.warning("announcement_deferred", extra={"cause": str(error)})
