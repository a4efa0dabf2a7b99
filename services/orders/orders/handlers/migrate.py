"""Called after each deploy: brings the database to this code's schema."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from orders import bootstrap
from shared.observability import logger

log = logger()
migrate = bootstrap.migrate()


@log.inject_lambda_context
def handler(event: Any, context: LambdaContext) -> dict[str, str]:  # noqa: ARG001
    """Return the revision reached; safe twice and side by side."""
    revision = migrate()
    log.info("database_migrated", extra={"revision": revision})
    return {"revision": revision}
