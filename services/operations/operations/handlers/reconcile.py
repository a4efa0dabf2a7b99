"""Every five minutes, and on request: brings to its end what no saga will."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from operations import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
reconcile = bootstrap.reconcile()

_METRICS = {
    "repaired": "Repaired",
    "unrepairable": "Unrepairable",
    "failed": "RepairFailed",
    "left": "RepairLeft",
}


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Take `{"dry_run": true}` or any event; return each finding and what was done about it."""
    result = reconcile(event)
    findings = [asdict(found) for found in result.findings]
    for found in findings:
        log.warning("order_reconciled", dry_run=result.dry_run, **found)
    totals = {
        "repaired": result.repaired,
        "unrepairable": result.unrepairable,
        "failed": result.failed,
        "left": result.left,
    }
    for name, total in totals.items():
        if not result.dry_run:
            count(numbers, _METRICS[name], total)
    return {"dry_run": result.dry_run, "findings": findings, **totals}
