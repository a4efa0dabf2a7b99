"""DynamoDB and its streams served by moto: LocalStack's own need a jar fetched at run time."""

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
