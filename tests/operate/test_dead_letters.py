"""What the operators' programs make of what AWS answers; what AWS does with it is end to end."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tools.dead_letters import (
    DeadLetters,
    Queue,
    Refused,
    chosen,
    destination,
    error_in,
    letter,
    main,
    message_id_in,
    resendable,
)
from tools.terminal import age, plain

ARN = "arn:aws:sqs:us-east-1:000000000000:dev-orderflow-"


def queue(name: str) -> Queue:
    return Queue(f"dev-orderflow-{name}", f"http://{name}", f"{ARN}{name}", 0, 0, None)


ONE = DeadLetters(queue("a-dlq"), (queue("a"),))
TWO = DeadLetters(queue("shared-dlq"), (queue("b"), queue("c")))


def message(body: str = "{}", **attributes: Any) -> dict[str, Any]:
    counted = {"SentTimestamp": "1764000000123", "ApproximateReceiveCount": "4"}
    return {"MessageId": "m-1", "Body": body, "Attributes": counted | attributes}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a", ONE),
        ("a-dlq", ONE),
        ("dev-orderflow-a", ONE),
        ("dev-orderflow-a-dlq", ONE),
        ("b", TWO),
        ("c", TWO),
        ("shared-dlq", TWO),
    ],
)
def test_a_queue_is_found_by_its_name_or_its_sources_with_or_without_the_stage(
    name: str, found: DeadLetters
) -> None:
    assert chosen(name, [ONE, TWO], "dev-orderflow-") is found


@pytest.mark.parametrize("name", ["", "d", "prod-orderflow-a", "A"])
def test_an_unknown_queue_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(Refused, match=r"QUEUE.*a, b, c$"):
        chosen(name, [ONE, TWO], "dev-orderflow-")


def test_a_letter_goes_back_to_where_it_came_from() -> None:
    assert destination(message(), ONE).name == "dev-orderflow-a"
    assert destination(message(DeadLetterQueueSourceArn=f"{ARN}c"), TWO).name == "dev-orderflow-c"
    with pytest.raises(Refused, match="m-1"):
        destination(message(), TWO)


def test_a_letter_is_sent_again_with_all_that_its_consumer_could_see() -> None:
    typed = {"type": {"DataType": "String", "StringValue": "order.placed.v1"}}
    trace = {"AWSTraceHeader": "Root=1-2-3"}
    first_in = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    again = resendable(message("body", **trace, **first_in) | {"MessageAttributes": typed})
    assert again == {
        "MessageBody": "body",
        "MessageAttributes": typed,
        "MessageSystemAttributes": {
            "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}
        },
        **first_in,
    }
    assert resendable(message("body")) == {"MessageBody": "body"}


@pytest.mark.parametrize("body", ["no JSON", "[]", "3", "null", "{}", '{"data": {}}'])
def test_a_letter_that_nobody_can_read_is_shown_all_the_same(body: str) -> None:
    shown = letter(message(body), "error")
    assert (shown.type, shown.subject, shown.body) == ("(unreadable)", "(unreadable)", body)
    assert (shown.receive_count, shown.last_error) == (4, "error")
    assert shown.as_data()["sent_at"] == "2025-11-24T16:00:00.123000+00:00"
    json.dumps(shown.as_data())


def logged(**fields: Any) -> str:
    return json.dumps({"level": "ERROR", "message": "command_failed"} | fields)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            logged(
                exception_name="UnreadableMessage",
                exception='Traceback…\n  File "x"\nshared.errors.UnreadableMessage: no JSON',
            ),
            "command_failed: UnreadableMessage: no JSON",
        ),
        (
            # SQLAlchemy adds the statement and a link.
            logged(
                exception_name="OperationalError",
                exception="psycopg.OperationalError: refused\n\nThe above…\n"
                "sqlalchemy.exc.OperationalError: (psycopg) gone\n[SQL: SELECT 1]\n(Background…)",
            ),
            "command_failed: OperationalError: (psycopg) gone",
        ),
        (
            logged(exception_name="KeyError", exception="Traceback…"),
            "command_failed: KeyError",
        ),
        (logged(), "command_failed"),
    ],
)
def test_the_error_of_a_log_line_is_the_exceptions_own_words(line: str, error: str) -> None:
    assert error_in(line) == error


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        (logged(sqs_message_id="m-1"), "m-1"),
        (logged(fact_id="m-1"), ""),
        ("REPORT RequestId: m-1", ""),
        ("[1]", ""),
        ('{"_aws": {}}', ""),
    ],
)
def test_only_a_line_about_a_message_tells_of_its_error(line: str, id_: str) -> None:
    assert message_id_in(line) == id_


@pytest.mark.parametrize("limit", ["0", "-1", "x", "²"])
def test_a_limit_that_is_none_is_refused_by_name(
    limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--limit", limit, "list"])
    assert "--limit" in capsys.readouterr().err


def test_a_poison_cannot_move_the_operators_cursor() -> None:
    assert plain("a\x1b[2Jb\n[red]c").plain == "a\ufffd[2Jb\ufffd[red]c"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3723, "1 h 2 min"),
        (86_405, "1 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_an_age_is_told_in_its_two_largest_units(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text
