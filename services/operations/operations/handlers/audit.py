"""Every hour, and on request: checks every invariant and tells of each violation."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from operations import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
audit = bootstrap.audit()


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Return each invariant with its violations; `{"effects": 0}` and its like set the patience."""
    findings = audit(event)
    for finding in findings:
        for violation in finding.violations:
            log.error(
                "invariant_violated", extra={"invariant": finding.invariant} | asdict(violation)
            )
    violations = sum(finding.count for finding in findings)
    log.info("audited", extra={"invariants": len(findings), "violations": violations})
    # Zero too: an alarm must tell "none" from "nobody looked".
    count(numbers, "InvariantViolations", violations)
    return {"findings": [asdict(finding) for finding in findings]}
