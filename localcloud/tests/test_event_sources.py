"""Queues and streams reach functions as Lambda's own pollers bring them."""

import json
from pathlib import Path

from cloud_under_test import Cloud, eventually, unique


def test_one_poison_message_goes_to_the_dead_letters_and_its_batch_mates_do_not(
    cloud: Cloud, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    sqs = cloud.client("sqs")
    dead = sqs.create_queue(QueueName=unique("dead"))["QueueUrl"]
    queue = sqs.create_queue(
        QueueName=unique("queue"),
        Attributes={
            "VisibilityTimeout": "1",
            "RedrivePolicy": json.dumps(
                {"deadLetterTargetArn": _arn(cloud, dead), "maxReceiveCount": 2}
            ),
        },
    )["QueueUrl"]
    sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[{"Id": word, "MessageBody": word} for word in ("one", "poison", "two")],
    )
    function = cloud.deploy(
        f"""
        def handler(event, context):
            failures = []
            for record in event["Records"]:
                with open({str(seen)!r}, "a") as file:
                    print(record["body"], file=file)
                if record["body"] == "poison":
                    failures.append({{"itemIdentifier": record["messageId"]}})
            return {{"batchItemFailures": failures}}
        """,
        Timeout=1,
    )

    function.feed(_arn(cloud, queue), FunctionResponseTypes=["ReportBatchItemFailures"])

    def dead_letters() -> list[str]:
        answer = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1)
        return [message["Body"] for message in answer.get("Messages", [])]

    assert eventually(dead_letters, "a dead letter") == ["poison"]
    assert sorted(seen.read_text().split()) == ["one", "poison", "poison", "two"]
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_messages_are_handled_at_the_same_time_up_to_the_maximum_concurrency(
    cloud: Cloud, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    queue = cloud.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    cloud.client("sqs").send_message_batch(
        QueueUrl=queue, Entries=[{"Id": word, "MessageBody": word} for word in "abcd"]
    )
    function = cloud.deploy(
        f"""
        import time
        def tell(*words):
            with open({str(seen)!r}, "a") as file:
                print(*words, file=file)
        def handler(event, context):
            tell("begin")
            time.sleep(3)
            tell("end")
        """
    )

    function.feed(_arn(cloud, queue), BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})

    def lines() -> list[str]:
        found = seen.read_text().split() if seen.exists() else []
        return found if len(found) == 8 else []

    running = most = 0
    for line in eventually(lines, "an end of every message"):
        running += 1 if line == "begin" else -1
        most = max(most, running)
    assert most == 2


def test_a_change_in_dynamodb_reaches_the_function_of_its_stream(
    cloud: Cloud, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    dynamodb = cloud.client("dynamodb")
    name = unique("table")
    table = dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    function = cloud.deploy(
        f"""
        import json
        def handler(event, context):
            with open({str(seen)!r}, "a") as file:
                for record in event["Records"]:
                    change = record["dynamodb"]
                    line = [record["eventName"], change.get("OldImage"), change.get("NewImage")]
                    print(json.dumps(line), file=file)
        """
    )
    function.feed(table["LatestStreamArn"], StartingPosition="TRIM_HORIZON")

    first, second = ({"id": {"S": "a"}, "count": {"N": n}} for n in ("1", "2"))
    dynamodb.put_item(TableName=name, Item=first)
    dynamodb.put_item(TableName=name, Item=second)

    def lines() -> list[str]:
        found = seen.read_text().splitlines() if seen.exists() else []
        return found if len(found) >= 2 else []

    changes = [json.loads(line) for line in eventually(lines, "two records")]
    assert changes == [["INSERT", None, first], ["MODIFY", first, second]]


def _arn(cloud: Cloud, queue: str) -> str:
    attributes = cloud.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["QueueArn"]
    )
    return str(attributes["Attributes"]["QueueArn"])
