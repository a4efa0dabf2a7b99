"""Look at a stage's dead letters, and put them back: `make dlq`, `make redrive QUEUE=… [ID=…]`.

Queues are found by their redrive policies, consumers by their event source mappings, the last error
of a message in its consumer's log. Works on AWS with the usual credentials, and wherever
AWS_ENDPOINT_URL points.

SQS cannot be looked at without receiving. So a look receives each message once, hides it while the
look lasts (a second), and then makes it visible again; if the look is killed, SQS does that after
`HIDDEN` seconds. What is left of it is a receive count that is higher by one, which means nothing
in a queue without a redrive policy of its own (one that has one is counted, and not looked at).
Receiving with no visibility timeout would leave the same trace, and could neither see every message
nor see that it has: the same ones come again and again.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tools.terminal import age, console, plain

HIDDEN = 60
"""Seconds after which SQS gives a message back by itself."""
PATIENCE = 30
"""Seconds for one look: what it holds must not come back while it goes on."""
APPEARS = 60
"""Seconds within which a move that was started must show."""
NOTHING_LOGGED = "(nothing in the log: the function was killed, or the log has expired)"
_BATCH = 10
_IDS = 20  # in a filter pattern, which holds 1024 characters
_TASK_ENDS = frozenset({"COMPLETED", "FAILED", "CANCELLED"})

Message = dict[str, Any]


class Refused(Exception):
    """What was asked for cannot be done; says why, and what there is instead."""


@dataclass(frozen=True)
class Queue:
    """An SQS queue, and the queue that takes its dead letters."""

    name: str
    url: str
    arn: str
    visible: int
    hidden: int
    dead_letters_arn: str | None

    @property
    def count(self) -> int:
        """How many messages it holds, about."""
        return self.visible + self.hidden


@dataclass(frozen=True)
class DeadLetters:
    """A queue of dead letters and those that send to it."""

    queue: Queue
    sources: tuple[Queue, ...]


@dataclass(frozen=True)
class Letter:
    """One dead letter, as an operator should see it."""

    id: str
    type: str
    subject: str
    sent_at: datetime
    receive_count: int
    last_error: str
    body: str

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**vars(self), "sent_at": self.sent_at.isoformat()}


@dataclass(frozen=True)
class Aws:
    """The AWS of one stage."""

    stage: str
    sqs: Any
    lambda_: Any
    logs: Any

    @classmethod
    def of(cls, stage: str) -> "Aws":
        """Return what the environment points at."""
        # Logs allow few calls a second.
        config = Config(retries={"mode": "adaptive", "max_attempts": 10}, max_pool_connections=20)
        clients = (boto3.client(name, config=config) for name in ("sqs", "lambda", "logs"))
        return cls(stage, *clients)

    @property
    def prefix(self) -> str:
        """What the names of the stage's queues begin with."""
        return f"{self.stage}-orderflow-"

    def dead_letters(self) -> list[DeadLetters]:
        """Find every queue that takes another's dead letters, by name."""
        pages = self.sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=self.prefix, PaginationConfig={"PageSize": 1000}
        )
        urls = [url for page in pages for url in page.get("QueueUrls", [])]
        if not urls:
            raise Refused(f"stage {self.stage} has no queues here: is it deployed?")
        with ThreadPoolExecutor(8) as pool:
            queues = {queue.arn: queue for queue in pool.map(self.queue, urls) if queue}
        found = {}
        for target in {queue.dead_letters_arn for queue in queues.values()} - {None}:
            assert target  # noqa: S101 - for the type checker
            queue = queues.get(target) or self.queue(self._url(target))
            if queue:
                senders = [each for each in queues.values() if each.dead_letters_arn == target]
                found[queue.name] = DeadLetters(
                    queue, tuple(sorted(senders, key=lambda each: each.name))
                )
        return [found[name] for name in sorted(found)]

    def _url(self, arn: str) -> str:
        *_, account, name = arn.split(":")
        url: str = self.sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)[
            "QueueUrl"
        ]
        return url

    def queue(self, url: str) -> Queue | None:
        """Return a queue as it is now; None if it has just been deleted."""
        try:
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        except self.sqs.exceptions.QueueDoesNotExist:
            return None
        attributes = found["Attributes"]
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        return Queue(
            name=attributes["QueueArn"].rsplit(":", 1)[1],
            url=url,
            arn=attributes["QueueArn"],
            visible=int(attributes["ApproximateNumberOfMessages"]),
            hidden=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            dead_letters_arn=policy.get("deadLetterTargetArn"),
        )

    @contextmanager
    def held(
        self, queue: Queue, *, enough: Callable[[Sequence[Message]], bool]
    ) -> Iterator[list[Message]]:
        """Receive until it is `enough` or nothing more comes; give back what is left in the list.

        Whoever deletes a message takes it out of the list.
        """
        held: list[Message] = []
        seen: set[str] = set()
        ends = time.monotonic() + PATIENCE
        try:
            while not enough(held) and time.monotonic() < ends:
                # A short wait asks all of SQS's servers; without one an answer may be empty though
                # there are messages.
                answer = self.sqs.receive_message(
                    QueueUrl=queue.url,
                    MaxNumberOfMessages=_BATCH,
                    WaitTimeSeconds=1,
                    VisibilityTimeout=HIDDEN,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                ).get("Messages", [])
                if not answer:
                    break
                held += [each for each in answer if each["MessageId"] not in seen]
                seen.update(each["MessageId"] for each in answer)
            yield held
        finally:
            self._give_back(queue, held)

    def _give_back(self, queue: Queue, messages: Sequence[Message]) -> None:
        kept = 0
        for at in range(0, len(messages), _BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 0}
                for n, each in enumerate(messages[at : at + _BATCH])
            ]
            answer = self.sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
            kept += len(answer.get("Failed", []))
        if kept:
            print(
                f"{queue.name}: {kept} messages stay hidden for {HIDDEN} s at most",
                file=sys.stderr,
            )

    def consumers(self, queues: Iterable[Queue]) -> list[str]:
        """Return the names of the functions that read these queues."""
        pages = self.lambda_.get_paginator("list_event_source_mappings")
        return [
            mapping["FunctionArn"].split(":")[6]
            for queue in queues
            for page in pages.paginate(EventSourceArn=queue.arn)
            for mapping in page["EventSourceMappings"]
        ]

    def last_errors(self, messages: Sequence[Message], functions: Sequence[str]) -> dict[str, str]:
        """Return by message id what the consumers logged about each message last."""
        last: dict[str, tuple[int, str]] = {}
        for function in functions:
            for at in range(0, len(messages), _IDS):
                for time_, id_, line in self._log_lines(function, messages[at : at + _IDS]):
                    last[id_] = max(last.get(id_, (0, "")), (time_, line))
        return {id_: error_in(line) for id_, (_, line) in last.items()}

    def _log_lines(
        self, function: str, messages: Sequence[Message]
    ) -> Iterator[tuple[int, str, str]]:
        """Yield time, message id and text of each structured line about one of the messages."""
        found = self.lambda_.get_function_configuration(FunctionName=function)
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=found.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{function}"),
            # Any of them. The local cloud knows no such pattern and answers with every line.
            filterPattern=" ".join(f'?"{each["MessageId"]}"' for each in messages),
            # The first receipt comes after it was sent, by whoever's clock.
            startTime=min(int(each["Attributes"]["SentTimestamp"]) for each in messages) - 60_000,
        )
        ids = {each["MessageId"] for each in messages}
        try:
            for page in pages:
                for event in page["events"]:
                    id_ = message_id_in(event["message"])
                    if id_ in ids:
                        yield event["timestamp"], id_, event["message"]
        except self.logs.exceptions.ResourceNotFoundException:
            return  # it has never run

    def move_tasks(self, queue: Queue) -> list[dict[str, Any]]:
        """Return the moves out of a queue, newest first."""
        tasks: list[dict[str, Any]] = self.sqs.list_message_move_tasks(
            SourceArn=queue.arn, MaxResults=10
        ).get("Results", [])
        return sorted(tasks, key=lambda task: task.get("StartedTimestamp", 0), reverse=True)


def message_id_in(line: str) -> str:
    """Return the message that a structured log line is about; "" if it is about none."""
    try:
        fields = json.loads(line)
    except ValueError:
        return ""
    return str(fields.get("sqs_message_id", "")) if isinstance(fields, dict) else ""


def error_in(line: str) -> str:
    """Return the error of a structured log line: `command_failed: UnreadableMessage: no JSON`."""
    fields = json.loads(line)
    said = str(fields.get("message", "?"))
    name = fields.get("exception_name")
    if not name:
        return said
    # The traceback's own line of the exception: what follows it may be SQL, or a link.
    found = re.findall(
        rf"^(?:[\w.]+\.)?{re.escape(name)}: (.*)$", str(fields.get("exception")), re.MULTILINE
    )
    return f"{said}: {name}" + (f": {found[-1]}" if found else "")


def letter(message: Message, last_error: str) -> Letter:
    """Read a message as far as it can be read: what is no envelope has no type and no subject."""
    try:
        content = json.loads(message["Body"])
    except ValueError:
        content = None
    envelope = content if isinstance(content, dict) else {}
    attributes = message["Attributes"]
    return Letter(
        id=message["MessageId"],
        type=str(envelope.get("type", "(unreadable)")),
        subject=str(envelope.get("subject", "(unreadable)")),
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        last_error=last_error,
        body=message["Body"],
    )


def look(aws: Aws, found: DeadLetters, limit: int) -> list[Letter]:
    """Return up to `limit` letters of a queue, oldest first."""
    if found.queue.dead_letters_arn:
        return []  # receiving would count against them
    with aws.held(found.queue, enough=lambda held: len(held) >= limit) as held:
        messages = held[:limit]
    functions = aws.consumers(found.sources) if messages else []
    errors = aws.last_errors(messages, functions)
    unknown = NOTHING_LOGGED if functions else "(nothing reads the queue)"
    letters = [letter(each, errors.get(each["MessageId"], unknown)) for each in messages]
    return sorted(letters, key=lambda each: each.sent_at)


def chosen(name: str, queues: Sequence[DeadLetters], prefix: str) -> DeadLetters:
    """Find a queue by its name or its source's, with or without the stage before it."""
    for found in queues:
        names = {found.queue.name, *(source.name for source in found.sources)}
        if name in names | {each.removeprefix(prefix) for each in names}:
            return found
    there = ", ".join(
        source.name.removeprefix(prefix) for found in queues for source in found.sources
    )
    raise Refused(f"QUEUE: there is no queue {name!r} with dead letters; there is: {there}")


def destination(message: Message, found: DeadLetters) -> Queue:
    """Return the queue that a letter came from; SQS says it of those that it moved itself."""
    came_from = message["Attributes"].get("DeadLetterQueueSourceArn")
    for source in found.sources:
        if source.arn == came_from or len(found.sources) == 1:
            return source
    names = ", ".join(source.name for source in found.sources)
    raise Refused(f"{message['MessageId']}: nobody knows from which queue it came: {names}?")


def redrive_one(aws: Aws, found: DeadLetters, id_: str, *, dry_run: bool) -> str:
    """Put one letter back: sent first and deleted then. Twice is safe, lost is not."""

    def is_held(messages: Sequence[Message]) -> bool:
        return any(each["MessageId"] == id_ for each in messages)

    with aws.held(found.queue, enough=is_held) as held:
        message = next((each for each in held if each["MessageId"] == id_), None)
        if message is None:
            there = ", ".join(each["MessageId"] for each in held[:20]) or "nothing"
            more = f" and {len(held) - 20} more" if len(held) > 20 else ""  # noqa: PLR2004
            raise Refused(
                f"ID: {found.queue.name} holds no message {id_!r}; it holds: {there}{more}. "
                f"What somebody else looks at is hidden for {HIDDEN} s at most."
            )
        target = destination(message, found)
        if dry_run:
            return f"{id_} would go back to {target.name}"
        sent = aws.sqs.send_message(QueueUrl=target.url, **resendable(message))["MessageId"]
        aws.sqs.delete_message(QueueUrl=found.queue.url, ReceiptHandle=message["ReceiptHandle"])
        held.remove(message)
    return f"{id_} went back to {target.name}, as {sent}"


def resendable(message: Message) -> dict[str, Any]:
    """Return what to send so that the consumer gets the same message again."""
    system = message["Attributes"]
    again: dict[str, Any] = {"MessageBody": message["Body"]}
    if message.get("MessageAttributes"):
        again["MessageAttributes"] = message["MessageAttributes"]
    if "AWSTraceHeader" in system:
        again["MessageSystemAttributes"] = {
            "AWSTraceHeader": {"DataType": "String", "StringValue": system["AWSTraceHeader"]}
        }
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if name in system:
            again[name] = system[name]
    return again


def redrive_all(aws: Aws, found: DeadLetters, out: Console) -> str:
    """Let SQS move every letter back, and follow it until it has ended."""
    before = aws.move_tasks(found.queue)
    if before and before[0]["Status"] not in _TASK_ENDS:
        out.print("A redrive of this queue runs already: following it.")
        known = {task.get("StartedTimestamp") for task in before[1:]}
    else:
        known = {task.get("StartedTimestamp") for task in before}
        # Without a destination SQS moves only what it knows the origin of.
        to = {"DestinationArn": found.sources[0].arn} if len(found.sources) == 1 else {}
        aws.sqs.start_message_move_task(SourceArn=found.queue.arn, **to)
    task = _followed(aws, found.queue, known, out)
    moved = task.get("ApproximateNumberOfMessagesMoved", 0)
    if task["Status"] != "COMPLETED":
        raise Refused(
            f"{found.queue.name}: the redrive ended {task['Status']} after {moved} messages"
            f" ({task.get('FailureReason', 'no reason given')})"
        )
    left = aws.queue(found.queue.url)
    names = ", ".join(source.name for source in found.sources)
    rest = (
        f"; {left.count} are there, hidden by a look or new: again" if left and left.count else ""
    )
    return f"{moved} messages went back to {names}{rest}"


def _followed(aws: Aws, queue: Queue, known: set[int | None], out: Console) -> dict[str, Any]:
    """Return the newest move that is not among the `known`, once it has ended."""
    appears = time.monotonic() + APPEARS
    with Progress(console=out, transient=True) as progress:
        bar = progress.add_task(f"{queue.name}: moving", total=queue.visible or None)
        while True:
            tasks = [
                task for task in aws.move_tasks(queue) if task.get("StartedTimestamp") not in known
            ]
            if tasks:
                moved = tasks[0].get("ApproximateNumberOfMessagesMoved", 0)
                progress.update(bar, completed=moved)
                if tasks[0]["Status"] in _TASK_ENDS:
                    return tasks[0]
            elif time.monotonic() > appears:
                raise Refused(f"{queue.name}: the move was started and does not show; see make dlq")
            time.sleep(0.5)


def report(aws: Aws, looked: Sequence[tuple[DeadLetters, list[Letter]]], now: datetime) -> Any:
    """Return what was seen, for JSON."""
    return {
        "stage": aws.stage,
        "queues": [
            {
                "queue": found.queue.name,
                "sources": [source.name for source in found.sources],
                "count": max(found.queue.count, len(letters)),
                "oldest_age_seconds": int((now - letters[0].sent_at).total_seconds())
                if letters
                else None,
                "messages": [each.as_data() for each in letters],
            }
            for found, letters in looked
        ],
    }


def draw(
    aws: Aws, looked: Sequence[tuple[DeadLetters, list[Letter]]], now: datetime, out: Console
) -> None:
    """Print every queue, and each letter that was seen."""
    for found, letters in looked:
        count = max(found.queue.count, len(letters))
        name = found.queue.name.removeprefix(aws.prefix)
        if not count:
            out.print(f"{name}: none")
            continue
        oldest = f", the oldest sent {age(now - letters[0].sent_at)} ago" if letters else ""
        out.print(f"[bold]{name}: {count}[/]{oldest}")
        if found.queue.dead_letters_arn:
            out.print("  not looked at: it has dead letters of its own, and a look counts there")
        elif letters:
            out.print(_table(letters))
        if letters and count > len(letters):
            out.print(f"  and {count - len(letters)} more: LIMIT=…, or hidden by another look")
    if not any(letters or found.queue.count for found, letters in looked):
        out.print(f"No dead letters in stage {aws.stage}.")


def _table(letters: Sequence[Letter]) -> Table:
    table = Table("id", "type", "subject", "sent", "received", "last error", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for each in letters:
        cells = (
            each.id,
            each.type,
            each.subject,
            f"{each.sent_at:%Y-%m-%d %H:%M:%S}Z",
            each.receive_count,
            each.last_error,
        )
        table.add_row(*map(plain, cells))
    return table


def list_letters(aws: Aws, options: argparse.Namespace, out: Console) -> None:
    """`make dlq`."""
    queues = aws.dead_letters()
    with ThreadPoolExecutor(8) as pool:
        letters = list(pool.map(lambda found: look(aws, found, options.limit), queues))
    looked, now = list(zip(queues, letters, strict=True)), datetime.now(UTC)
    if options.format == "json":
        print(json.dumps(report(aws, looked, now), indent=2))
    else:
        draw(aws, looked, now, out)


def redrive(aws: Aws, options: argparse.Namespace, out: Console) -> None:
    """`make redrive`."""
    if options.id == "":
        # `ID=$FORGOTTEN`: all is not what was meant.
        raise Refused("ID: is empty; leave it out to redrive all")
    found = chosen(options.queue, aws.dead_letters(), aws.prefix)
    if options.id:
        out.print(plain(redrive_one(aws, found, options.id, dry_run=options.dry_run)))
    elif options.dry_run:
        names = ", ".join(source.name for source in found.sources)
        out.print(f"{found.queue.count} messages would go back to {names}:")
        draw(aws, [(found, look(aws, found, options.limit))], datetime.now(UTC), out)
    else:
        out.print(redrive_all(aws, found, out))


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of messages")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 if it could not be done."""
    parser = argparse.ArgumentParser(
        prog="dead_letters", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--stage", default="local")
    parser.add_argument("--limit", type=_positive, default=100, help="messages of each queue")
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("list", help="list every queue's dead letters")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    listing.set_defaults(run=list_letters)
    redriving = commands.add_parser("redrive", help="put dead letters back")
    redriving.add_argument("queue")
    redriving.add_argument("--id", help="one message; without it, all")
    redriving.add_argument("--dry-run", action="store_true")
    redriving.set_defaults(run=redrive)
    options = parser.parse_args(arguments)
    try:
        options.run(Aws.of(options.stage), options, console())
    except (Refused, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped looking; a redrive that SQS has begun goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
