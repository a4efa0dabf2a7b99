"""The shop's days in DynamoDB: a sum for each day, beside the shares that it is the sum of.

A share and its day's sum move in one transaction, on the condition that nobody moved the share
meanwhile. So whatever comes twice, late or at once adds what it is more than what is there.

All is kept under the name of a generation. To make the days anew, a second generation is begun that
learns of all changes too (`generations`), while it reads the tables; once it has, it is the one
that is read. What a change tells it and what it reads itself are the same shares, so it does not
matter which comes first, or that both come.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from notifications.adapters.once import transact
from notifications.domain import KEPT_DAYS, Day, Figures, Share, day_of, growth
from shared.errors import OrderflowError, TransientFault
from shared.ids import uuid7

_FIRST = "0"
_SUM = "#sum"
_CONTROL = {"day": {"S": "#generations"}, "source": {"S": "#generations"}}
_ATTEMPTS = 8
_DELETED_AT_ONCE = 25

Key = Mapping[str, Mapping[str, str]]


class Overtaken(OrderflowError):
    """Another rebuild was begun after this one; only the newest comes to its end."""


class DynamoDays:
    """One table: shares and sums, and which generations there are."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def generations(self) -> Sequence[str]:
        """Return the one that is read, then the one that is being made, if any."""
        control = self._control()
        return [control.get("current", _FIRST), *filter(None, [control.get("building")])]

    def absorb(self, generation: str, share: Share) -> bool:
        """Add to its day what the share has not added yet; False if that is nothing."""
        key = _key(generation, share.day, share.source)
        for attempt in range(1, _ATTEMPTS + 1):
            known = self._figures(key, consistent=True)
            more = growth(known, share.figures)
            if not more:
                return False
            try:
                transact(self._dynamodb, self._writes(key, known, more, share))
            except ClientError as error:
                if not _moved_meanwhile(error):
                    raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 (jitter)
            else:
                return True
        raise TransientFault(f"{share.day} {share.source}: others moved it each time")

    def figures(self, day: date) -> Figures:
        """Return the figures of a day, as they are read."""
        return self._figures(_key(self.generations()[0], day, _SUM))

    def days(self, days: Sequence[date]) -> list[Day]:
        """Return these days, 100 at most, in their order."""
        current = self.generations()[0]
        wanted = [_key(current, day, _SUM) for day in days]
        found: dict[str, Figures] = {}
        while wanted:
            answer = self._dynamodb.batch_get_item(RequestItems={self._table: {"Keys": wanted}})
            for item in answer["Responses"][self._table]:
                found[item["day"]["S"]] = _numbers(item)
            wanted = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
        return [day_of(day, found.get(_named(current, day), {})) for day in days]

    def begin(self) -> str:
        """Have a new generation learn of all that happens from now on; return its name.

        If another is being made, that one is given up: its next step finds out.
        """
        generation = uuid7().hex
        self._dynamodb.update_item(
            TableName=self._table,
            Key=_CONTROL,
            UpdateExpression="SET building = :new",
            ExpressionAttributeValues={":new": {"S": generation}},
        )
        return generation

    def check(self, generation: str) -> None:
        """Raise Overtaken unless this generation is being made, or is read already."""
        if generation not in self.generations():
            raise Overtaken(generation)

    def finish(self, generation: str) -> None:
        """Have this generation read from now on; safe twice."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_CONTROL,
                UpdateExpression="SET #current = :new REMOVE building",
                ConditionExpression="building = :new",
                ExpressionAttributeNames={"#current": "current"},
                ExpressionAttributeValues={":new": {"S": generation}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            if self._control().get("current") != generation:
                raise Overtaken(generation) from error

    def sweep(self, after: Key | None) -> tuple[int, Key | None]:
        """Delete a page of what belongs to no generation any more; return how much, and the rest.

        What an old generation's last changes write after it was swept, the next sweep finds.
        """
        page = self._dynamodb.scan(
            TableName=self._table,
            ConsistentRead=True,
            ProjectionExpression="#day, #source",
            ExpressionAttributeNames={"#day": "day", "#source": "source"},
            **({"ExclusiveStartKey": after} if after else {}),
        )
        # Asked for after the page was read: a generation that was begun in between is spared.
        kept = {_CONTROL["day"]["S"], *self.generations()}
        dead = [key for key in page["Items"] if key["day"]["S"].partition("|")[0] not in kept]
        for batch in _batches(dead, _DELETED_AT_ONCE):
            self._delete(batch)
        return len(dead), page.get("LastEvaluatedKey")

    def _delete(self, keys: Sequence[Key]) -> None:
        left: Any = {self._table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for attempt in range(1, _ATTEMPTS + 1):
            left = self._dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems")
            if not left:
                return
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 (jitter)
        raise TransientFault(f"{self._table}: DynamoDB has no time to delete")

    def _writes(
        self, key: Key, known: Figures, more: Figures, share: Share
    ) -> Sequence[Mapping[str, Any]]:
        names = {f"#n{at}": name for at, name in enumerate(more)}
        unmoved = [
            f"{alias} = :old{at}" if name in known else f"attribute_not_exists({alias})"
            for at, (alias, name) in enumerate(names.items())
        ]
        old = {
            f":old{at}": {"N": str(known[name])} for at, name in enumerate(more) if name in known
        }
        added = {f":more{at}": {"N": str(amount)} for at, amount in enumerate(more.values())}
        add = ", ".join(f"#n{at} :more{at}" for at in range(len(more)))
        expires = {":expires": {"N": str(_expiry(share.day))}}
        common = {
            "TableName": self._table,
            "UpdateExpression": f"SET expires_at = :expires ADD {add}",
            "ExpressionAttributeNames": names,
        }
        return [
            {
                "Update": {
                    **common,
                    "Key": key,
                    "ConditionExpression": " AND ".join(unmoved),
                    "ExpressionAttributeValues": {**added, **expires, **old},
                }
            },
            {
                "Update": {
                    **common,
                    "Key": {"day": key["day"], "source": {"S": _SUM}},
                    "ExpressionAttributeValues": {**added, **expires},
                }
            },
        ]

    def _figures(self, key: Key, *, consistent: bool = False) -> dict[str, int]:
        answer = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=consistent)
        return _numbers(answer.get("Item", {}))

    def _control(self) -> dict[str, str]:
        # Consistent: a change must not overlook a generation that was begun before it.
        answer = self._dynamodb.get_item(TableName=self._table, Key=_CONTROL, ConsistentRead=True)
        return {name: value["S"] for name, value in answer.get("Item", {}).items()}


def _named(generation: str, day: date) -> str:
    return f"{generation}|{day.isoformat()}"


def _key(generation: str, day: date, source: str) -> Key:
    return {"day": {"S": _named(generation, day)}, "source": {"S": source}}


def _numbers(item: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    return {
        name: int(value["N"])
        for name, value in item.items()
        if "N" in value and name != "expires_at"
    }


def _expiry(day: date) -> int:
    """Return when a day's figures go: before the first of what they consist of."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return int((midnight + timedelta(days=KEPT_DAYS + 1)).timestamp())


def _moved_meanwhile(error: ClientError) -> bool:
    reasons = error.response.get("CancellationReasons", [])
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)


def _batches(keys: Sequence[Key], size: int) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
