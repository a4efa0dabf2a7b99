"""Every hour, and on request: checks every invariant and tells of each violation."""

from typing import Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from operations import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
audit = bootstrap.audit()


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Return each invariant with its violations."""
    findings = audit(event)
    count(numbers, "InvariantViolations", sum(finding.count for finding in findings))
    return {"findings": msgspec.to_builtins(findings)}
