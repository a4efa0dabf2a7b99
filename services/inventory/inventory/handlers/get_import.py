"""Called directly: how far an import has come, or what came of it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from inventory import bootstrap
from shared.observability import logger

log = logger()
get_import = bootstrap.get_import()


@log.inject_lambda_context
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Read `{"key", "version"}`; raise UnreadableMessage naming what is missing."""
    found: dict[str, Any] = get_import(event)
    return found
