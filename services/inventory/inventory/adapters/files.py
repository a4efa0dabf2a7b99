"""The bucket of price lists."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from inventory.imports import PriceList
from shared.errors import TransientFault, UnreadableMessage

_CHUNK = 65_536


def price_lists_in(event: Any) -> list[PriceList]:
    """Return the objects that an S3 event tells of; raise UnreadableMessage naming the field.

    The console makes a folder by putting an empty object whose key ends with `/`: no price list.
    """
    if not isinstance(event, dict) or not isinstance(event.get("Records"), list):
        raise UnreadableMessage("Records must be a list: this is no event of S3")
    found = []
    for record in event["Records"]:
        try:
            bucket, thing = record["s3"]["bucket"]["name"], record["s3"]["object"]
            # Keys come URL-encoded, as in a form.
            file = PriceList(bucket, unquote_plus(thing["key"]), thing["versionId"])
        except (KeyError, TypeError) as error:
            raise UnreadableMessage(
                f"{error} is missing in an event of S3; the bucket must keep versions"
            ) from error
        if not file.key.endswith("/"):
            found.append(file)
    return found


class S3Object:
    """An object's size, and its content as a stream."""

    def __init__(self, answer: Any) -> None:
        self.size: int = answer["ContentLength"]
        self._body = answer["Body"]

    def chunks(self) -> Iterable[bytes]:
        """Read it as it comes; one that ends before its size has come raises."""
        chunks: Iterable[bytes] = self._body.iter_chunks(_CHUNK)
        return chunks


class S3Files:
    """Reads price lists, and puts their reports beside them."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    @contextmanager
    def open(self, file: PriceList) -> Iterator[S3Object]:
        """Open that version; what S3 leaves unanswered until the block's end is transient."""
        try:
            answer = self._s3.get_object(Bucket=file.bucket, Key=file.key, VersionId=file.version)
            with answer["Body"]:
                yield S3Object(answer)
        except BotoCoreError as error:
            raise TransientFault(f"{type(error).__name__}: {error}") from error

    def put_report(self, file: PriceList, report: BinaryIO) -> str:
        """Put it as a new version: a run that is repeated puts the same again."""
        try:
            answer = self._s3.put_object(
                Bucket=file.bucket,
                Key=file.report_key,
                Body=report,
                ContentType="text/csv; charset=utf-8",
            )
        except (BotoCoreError, ClientError) as error:
            raise TransientFault(f"{type(error).__name__}: {error}") from error
        version: str = answer["VersionId"]
        return version
