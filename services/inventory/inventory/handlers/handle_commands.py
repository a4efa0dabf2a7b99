"""Queue inventory-commands: one step of the saga for each message, answered to the saga."""

from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from inventory import bootstrap
from shared.batch import handle_each
from shared.envelope import read
from shared.observability import correlated, count, logger, metrics
from shared.warm_up import answers_pings

log = logger()
numbers = metrics()
handle_command = bootstrap.handle_commands(log)


def handle(record: SQSRecord) -> None:
    """Handle one message; what it raises fails this message alone."""
    subject = "unreadable"
    try:
        envelope = read(record.body)
        subject = envelope.subject
        with correlated(log, subject):
            answered = handle_command(envelope)
    except Exception:
        with correlated(log, subject):
            log.exception("command_failed", extra={"sqs_message_id": record.message_id})
        count(numbers, "CommandsFailed")
        raise
    fact = {"command": envelope.type, **answered.outcome.as_data()}
    with correlated(log, subject):
        log.info("command_answered" if answered.in_time else "command_answered_late", extra=fact)
    count(numbers, f"Commands{answered.outcome.code.title()}")


@answers_pings
@log.inject_lambda_context
@numbers.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer with the messages that failed, so that only they come again."""
    return handle_each(event, context, handle)
