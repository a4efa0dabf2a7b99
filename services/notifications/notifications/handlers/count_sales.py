"""Queue notifications-analytics: what becomes of orders, and what each sold, into the figures."""

from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from notifications import bootstrap
from notifications.use_cases import counted_fact
from shared.batch import handle_each
from shared.envelope import read
from shared.observability import correlated, count, logger, metrics

log = logger()
numbers = metrics()
count_once = bootstrap.count_sales()


def add(record: SQSRecord) -> None:
    """Handle one message; what it raises fails this message alone."""
    subject = "unreadable"
    try:
        envelope = read(record.body)
        subject = envelope.subject
        result = count_once(envelope.id, counted_fact(envelope), envelope.time)
    except Exception:
        with correlated(log, subject):
            log.exception("sale_failed", extra={"sqs_message_id": record.message_id})
        count(numbers, "SalesFailed")
        raise
    with correlated(log, subject):
        log.info("sale_%s", result["outcome"], extra={"fact_id": envelope.id, "day": result["day"]})
    count(numbers, f"Sales{result['outcome'].title()}")


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer with the messages that failed, so that only they come again."""
    count_once.invoked(context)
    return handle_each(event, context, add)
