"""GET /stats?day=: the shop's day."""

from typing import Any

from notifications import bootstrap, http, requests
from notifications.domain import KEPT_DAYS
from shared.observability import logger

log = logger()
get_stats = bootstrap.get_stats()


@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 200 with a UTC day, today's if none is named; 404 for one that is not kept."""
    found = get_stats(requests.day(http.query(event)))
    if found is None:
        raise http.NotFound(f"There are days from {KEPT_DAYS} days ago until today, in UTC.")
    return http.json(found)
