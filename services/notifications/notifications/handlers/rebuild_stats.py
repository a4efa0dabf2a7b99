"""For operators: makes the days anew from the tables, while the old ones are read."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from notifications import bootstrap, requests
from notifications.use_cases import DONE
from shared.observability import logger

log = logger()
rebuild_stats = bootstrap.rebuild_stats()

# Enough for the page that is being read.
_LAST_PAGE_MILLISECONDS = 30_000


@log.inject_lambda_context
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Take `{}`, or `{"begun": …}` as answered before; call again until `done`."""
    begun = requests.rebuild(event)

    def hurry() -> bool:
        return context.get_remaining_time_in_millis() < _LAST_PAGE_MILLISECONDS

    came = rebuild_stats(begun, hurry)
    done = came.at == DONE
    if done:
        log.info("stats_rebuilt", extra=asdict(came))
    return {"done": done, "begun": asdict(came)}
