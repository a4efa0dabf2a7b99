"""DynamoDB and its streams served by moto: LocalStack's own need a jar fetched at run time."""

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
    return Service.for_provider(MotoDynamoDB(), dispatch_table_factory=MotoFallbackDispatcher)


@aws_provider(api="dynamodbstreams", name="moto")  # type: ignore[untyped-decorator]
def dynamodbstreams() -> Service:
    """Chosen by PROVIDER_OVERRIDE_DYNAMODBSTREAMS=moto."""
    return Service.for_provider(
        MotoDynamoDBStreams(), dispatch_table_factory=MotoFallbackDispatcher
    )
