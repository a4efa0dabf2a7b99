"""After the faults: queues run dry, dead letters come back, and the books must still balance."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.chaos.ground import Ground
from tests.chaos.queues import DEAD, dead_letters, lengths
from tests.support.audit import violations
from tests.support.cloud import Cloud
from tests.support.polling import eventually

DRY_WITHIN = 330
"""Seconds: a message that fails is received three times, a minute apart, and then dead."""

Say = Callable[[str], None]


@dataclass
class Aftermath:
    """What the end looked like."""

    dead_letters: dict[str, int] = field(default_factory=dict)
    left_alone: dict[str, int] = field(default_factory=dict)
    came_back: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def settle(ground: Ground, say: Say) -> Aftermath:
    """Let all messages end, remove every fault, redrive dead letters; check before and after."""
    after = Aftermath()
    say("waiting until no message is under way")
    _dry(ground.cloud)
    ground.faults.clear()
    after.wrong += [f"before the redrive: {fault}" for fault in oracle(ground.cloud)]
    # Letters that were dead before may be others' poison, and would only die again.
    dead, older = dead_letters(ground.cloud), ground.older_letters
    after.dead_letters = {queue: count for queue, count in dead.items() if queue not in older}
    after.left_alone = {queue: count for queue, count in dead.items() if queue in older}
    if after.left_alone:
        say(f"queues with older dead letters are left alone: {after.left_alone}")
    for queue, count in after.dead_letters.items():
        say(f"redriving {count} dead letters of {queue}")
        _redrive(ground.cloud, queue)
    if after.dead_letters:

        def still() -> dict[str, int]:
            found = dead_letters(ground.cloud)
            return {queue: found[queue] for queue in after.dead_letters if queue in found}

        eventually(lambda: not still(), "the dead letters are moved", within=60)
        _dry(ground.cloud)
        after.came_back = still()
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


def _dry(cloud: Cloud) -> None:
    def wet() -> dict[str, int]:
        return {
            name: count
            for name, count in lengths(cloud).items()
            if count and not name.endswith(DEAD)
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
