"""DynamoDB and its streams served by moto: LocalStack's own need a jar fetched at run time.

Moto knows no two callers at once: it checks a condition and writes later, and it undoes a refused
transaction by putting whole tables back as they were, with what others wrote meanwhile lost. Here
one call is made at a time, and a transaction checks everything before it writes anything.
"""

import copy
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localstack.aws.api.dynamodb import DynamodbApi
from localstack.aws.api.dynamodbstreams import DynamodbstreamsApi
from localstack.services.moto import MotoFallbackDispatcher
from localstack.services.plugins import Service, aws_provider


# Neither class implements anything: what a provider does not implement, moto answers.
class MotoDynamoDB(DynamodbApi):
    """DynamoDB, all of it moto's."""


class MotoDynamoDBStreams(DynamodbstreamsApi):
    """DynamoDB Streams, all of it moto's."""


@aws_provider(api="dynamodb", name="moto")  # type: ignore[untyped-decorator]
def dynamodb() -> Service:
    """Chosen by PROVIDER_OVERRIDE_DYNAMODB=moto."""
    _leave_out_images_of_nothing()
    _one_at_a_time()
    return Service.for_provider(MotoDynamoDB(), dispatch_table_factory=MotoFallbackDispatcher)


@aws_provider(api="dynamodbstreams", name="moto")  # type: ignore[untyped-decorator]
def dynamodbstreams() -> Service:
    """Chosen by PROVIDER_OVERRIDE_DYNAMODBSTREAMS=moto."""
    return Service.for_provider(
        MotoDynamoDBStreams(), dispatch_table_factory=MotoFallbackDispatcher
    )


def _leave_out_images_of_nothing() -> None:
    """An insert has no OldImage on AWS, and a removal no NewImage; moto's are empty."""
    from moto.dynamodb.models.table import StreamRecord  # noqa: PLC0415 (only when it is used)

    original = StreamRecord.to_json

    def to_json(record: StreamRecord) -> dict[str, Any]:
        told = original(record)
        change = told["dynamodb"]
        for image in ("OldImage", "NewImage"):
            if not change.get(image):
                change.pop(image, None)
        return told

    setattr(StreamRecord, "to_json", to_json)  # noqa: B010 (mypy allows no other)


_LOCK = threading.RLock()
_CALLS = ("get_item", "put_item", "update_item", "delete_item", "query", "scan")


def _one_at_a_time() -> None:
    from moto.dynamodb.models import DynamoDBBackend  # noqa: PLC0415 (only when it is used)

    for name in _CALLS:
        setattr(DynamoDBBackend, name, _locked(getattr(DynamoDBBackend, name)))
    setattr(DynamoDBBackend, "transact_write_items", _locked(_transact))  # noqa: B010


def _locked(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def alone(*arguments: Any, **named: Any) -> Any:
        with _LOCK:
            return call(*arguments, **named)

    return alone


def _transact(backend: Any, transact_items: Sequence[Mapping[str, Any]]) -> None:
    """Write all or nothing, without a copy of every table for each transaction."""
    from moto.dynamodb import exceptions  # noqa: PLC0415 (only when it is used)

    if len(transact_items) > 100:  # noqa: PLR2004 (DynamoDB's limit)
        raise exceptions.TooManyTransactionsException
    steps = [next(iter(item.items())) for item in transact_items if len(item) == 1]
    if len(steps) != len(transact_items):
        raise exceptions.TransactWriteSingleOpException
    places = [_place(backend, kind, step) for kind, step in steps]
    if len(set(places)) != len(places):
        raise exceptions.MultipleTransactionsException
    refused = [
        _refusal(backend, step, place) for (_, step), place in zip(steps, places, strict=True)
    ]
    if any(code for code, *_ in refused):
        raise exceptions.TransactionCanceledException(refused)
    before = [copy.deepcopy(_item(backend, place)) for place in places]
    for at, (kind, step) in enumerate(steps):
        try:
            _write(backend, kind, step)
        except Exception as error:  # whatever it is, the transaction reports it in its place
            for place, item in zip(places[: at + 1], before, strict=False):
                _put_back(backend, place, item)
            if isinstance(error, exceptions.MockValidationException):
                raise
            reasons: list[Any] = [(None, None, None)] * len(steps)
            reasons[at] = (type(error).__name__, str(error), None)
            raise exceptions.TransactionCanceledException(reasons) from error


def _place(backend: Any, kind: str, step: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return table, hash key and range key of what a step is about."""
    table = backend.get_table(step["TableName"])
    keys = step["Item"] if kind == "Put" else step["Key"]
    return (step["TableName"], *backend.get_keys_value(table, keys))


def _item(backend: Any, place: tuple[Any, ...]) -> Any:
    name, hash_key, range_key = place
    return backend.get_table(name).get_item(hash_key, range_key)


def _refusal(
    backend: Any, step: Mapping[str, Any], place: tuple[Any, ...]
) -> tuple[str | None, str | None, Any]:
    from moto.dynamodb.comparisons import get_filter_expression  # noqa: PLC0415

    condition = get_filter_expression(
        step.get("ConditionExpression"),
        step.get("ExpressionAttributeNames"),
        step.get("ExpressionAttributeValues"),
    )
    item = _item(backend, place)
    if condition.expr(item):
        return None, None, None
    wanted = step.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    old = item.to_json()["Attributes"] if wanted and item else None
    return "ConditionalCheckFailed", "The conditional request failed", old


def _write(backend: Any, kind: str, step: Mapping[str, Any]) -> None:
    expressions = {
        "condition_expression": step.get("ConditionExpression"),
        "expression_attribute_names": step.get("ExpressionAttributeNames"),
        "expression_attribute_values": step.get("ExpressionAttributeValues"),
    }
    if kind == "Put":
        backend.put_item(step["TableName"], step["Item"], **expressions)
    elif kind == "Delete":
        backend.delete_item(step["TableName"], step["Key"], **expressions)
    elif kind == "Update":
        backend.update_item(
            step["TableName"],
            step["Key"],
            update_expression=step["UpdateExpression"],
            **expressions,
        )
    elif kind != "ConditionCheck":
        raise ValueError(f"unsupported transaction operation {kind}")


def _put_back(backend: Any, place: tuple[Any, ...], item: Any) -> None:
    name, hash_key, range_key = place
    table = backend.get_table(name)
    if item is None:
        table.delete_item(hash_key, range_key)
    elif table.has_range_key:
        table.items[hash_key][range_key] = item
    else:
        table.items[hash_key] = item
