"""Every night: the sales of the day that is over, as files and as a mail to the operator."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from notifications import bootstrap, requests
from shared.observability import logger

log = logger()
report_sales = bootstrap.report_sales()


@log.inject_lambda_context
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Take `{"day"}`, yesterday if none is named; `{"again": true}` writes the files anew.

    While another run is at the same day this raises, and Lambda calls again: should that one have
    died, its claim is over by then.
    """
    wanted = requests.report(event)
    reported = report_sales(wanted, context)
    log.info("sales_reported", extra=reported)
    return reported
