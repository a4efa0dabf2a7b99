"""The one message format: a CloudEvents 1.0 JSON envelope.

`subject` is the order id or the sku. Commands carry the saga's task token as the extension
attribute `tasktoken`. Readers ignore attributes and fields that they do not know.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from shared.errors import UnreadableMessage
from shared.ids import uuid7


class Contract(Protocol):
    """A published message type: a frozen msgspec Struct with its wire name and version."""

    TYPE: str


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message as it stands in a queue; `data` stays encoded until its type is known."""

    id: str
    source: str
    type: str
    time: datetime
    subject: str
    data: msgspec.Raw
    specversion: Literal["1.0"]
    datacontenttype: str = "application/json"
    tasktoken: str | None = None


def wrap(body: Any, *, source: str, subject: str, event_id: str | None = None) -> dict[str, Any]:
    """Return the envelope of contract struct `body` as plain JSON data (str, int, list, dict)."""
    return {
        "specversion": "1.0",
        "id": event_id or str(uuid7()),
        "source": source,
        "type": body.TYPE,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "subject": subject,
        "datacontenttype": "application/json",
        "data": msgspec.to_builtins(body),
    }


def read(text: str | bytes) -> Envelope:
    """Parse a message body; raise UnreadableMessage naming the faulty attribute."""
    try:
        return msgspec.json.decode(text, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMessage(str(error)) from error


def read_data[T](envelope: Envelope, contract: type[T]) -> T:
    """Parse the envelope's data as `contract`; raise UnreadableMessage naming the field."""
    try:
        return msgspec.json.decode(envelope.data, type=contract)
    except msgspec.DecodeError as error:
        raise UnreadableMessage(f"{envelope.type}: {error}") from error
