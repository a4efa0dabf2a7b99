"""Queue notifications-email: one mail for each order fact that somebody should read of."""

from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from notifications import bootstrap
from notifications.use_cases import mailed_fact
from shared.batch import handle_each
from shared.envelope import read
from shared.observability import correlated, count, logger, metrics

log = logger()
numbers = metrics()
send_once = bootstrap.send_email()


def send(record: SQSRecord) -> None:
    """Handle one message; what it raises fails this message alone."""
    subject = "unreadable"
    try:
        envelope = read(record.body)
        subject = envelope.subject
        outcome = send_once(envelope.id, mailed_fact(envelope))["outcome"]
    except Exception:
        with correlated(log, subject):
            log.exception("mail_failed", extra={"sqs_message_id": record.message_id})
        count(numbers, "MailsFailed")
        raise
    with correlated(log, subject):
        log.info("mail_%s", outcome, extra={"fact": envelope.type, "fact_id": envelope.id})
    count(numbers, f"Mails{outcome.title()}")


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer with the messages that failed, so that only they come again."""
    send_once.invoked(context)
    return handle_each(event, context, send)
