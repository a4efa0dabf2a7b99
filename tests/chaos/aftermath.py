"""After the faults: queues run dry, dead letters come back, and the books must still balance."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.chaos.graph import STAGE
from tests.chaos.ground import Ground
from tests.support.audit import violations
from tests.support.cloud import Cloud
from tests.support.polling import eventually

_DEAD = "-dlq"
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
DRY_WITHIN = 330
"""Seconds: a message that fails is received three times, a minute apart, and then dead."""

Say = Callable[[str], None]


@dataclass
class Aftermath:
    """What the end looked like."""

    dead_letters: dict[str, int] = field(default_factory=dict)
    came_back: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def lengths(cloud: Cloud) -> dict[str, int]:
    """Return how many messages each of Orderflow's queues holds, whether visible or not."""
    sqs = cloud.client("sqs")
    urls = sqs.list_queues(QueueNamePrefix=f"{STAGE}-orderflow-").get("QueueUrls", [])
    found = {}
    for url in urls:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
        found[url.rpartition("/")[2]] = sum(map(int, attributes["Attributes"].values()))
    return found


def settle(ground: Ground, say: Say) -> Aftermath:
    """Let all messages end, remove every fault, redrive dead letters; check before and after."""
    after = Aftermath()
    say("waiting until no message is under way")
    _dry(ground.cloud)
    ground.faults.clear()
    after.wrong += [f"before the redrive: {fault}" for fault in oracle(ground.cloud)]
    after.dead_letters = _dead(ground.cloud)
    for queue, count in after.dead_letters.items():
        say(f"redriving {count} dead letters of {queue}")
        _redrive(ground.cloud, queue)
    if after.dead_letters:
        eventually(lambda: not _dead(ground.cloud), "the dead letters are moved", within=60)
        _dry(ground.cloud)
        after.came_back = _dead(ground.cloud)
        after.wrong += [
            f"{count} messages of {queue} died again" for queue, count in after.came_back.items()
        ]
        after.wrong += [f"after the redrive: {fault}" for fault in oracle(ground.cloud)]
    return after


def oracle(cloud: Cloud, *, within: float = 120) -> list[str]:
    """Return what is wrong with the books, once it stays wrong: the relay may take a minute."""
    deadline = time.monotonic() + within
    while found := violations(cloud):
        if time.monotonic() > deadline:
            return found
        time.sleep(2)
    return []


def _dead(cloud: Cloud) -> dict[str, int]:
    return {name: count for name, count in lengths(cloud).items() if count and name.endswith(_DEAD)}


def _dry(cloud: Cloud) -> None:
    def wet() -> dict[str, int]:
        return {
            name: count
            for name, count in lengths(cloud).items()
            if count and not name.endswith(_DEAD)
        }

    eventually(lambda: not wet(), "the queues are empty", within=DRY_WITHIN, every=1)


def _redrive(cloud: Cloud, queue: str) -> None:
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    sqs.start_message_move_task(SourceArn=attributes["Attributes"]["QueueArn"])


def reachable(cloud: Cloud) -> str | None:
    """Say why no experiment can run here; None if it can."""
    if fault := cloud.fault():
        return fault
    answer = httpx.get(f"{cloud.endpoint}/_orderflow/faults", timeout=30)
    if answer.status_code != httpx.codes.OK:
        return f"{cloud.endpoint} injects no faults: it is not the local cloud of this folder"
    return None
