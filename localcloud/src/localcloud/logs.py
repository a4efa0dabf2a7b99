"""`localcloud logs`: what a service's functions wrote, oldest first, and then as it comes."""

import re
import time
from collections.abc import Iterator
from typing import Any

from localcloud.processes import CloudError
from localcloud.settings import REGION, Settings

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> int:
    """`90s`, `10m` or `2h` in seconds. Raises CloudError."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if not match:
        raise CloudError(f"--since {text}: write 90s, 10m or 2h")
    return int(match[1]) * UNITS[match[2]]


def show(settings: Settings, service: str, *, stage: str, since: str, follow: bool) -> None:
    """Print log lines until there are no more, or for ever when following."""
    import boto3  # noqa: PLC0415 (it takes longer than all the other commands do)

    client = boto3.client(
        "logs",
        endpoint_url=settings.endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 (LocalStack reads none)
    )
    prefix = f"/aws/lambda/{service}-{stage}-"
    start = int((time.time() - seconds(since)) * 1000)
    seen: set[str] = set()
    while True:
        groups = _pages(client, "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
        events = [
            (event["timestamp"], group["logGroupName"], event)
            for group in groups
            for event in _pages(
                client,
                "filter_log_events",
                "events",
                logGroupName=group["logGroupName"],
                startTime=start,
            )
            if event["eventId"] not in seen
        ]
        for stamp, name, event in sorted(events, key=lambda entry: entry[0]):
            clock = time.strftime("%H:%M:%S", time.localtime(stamp / 1000))
            print(clock, name.removeprefix(prefix), event["message"].rstrip(), flush=True)
            seen.add(event["eventId"])
            # Lines of one millisecond can come apart, and an environment writes at its call's
            # end: the last seconds are read again.
            start = max(start, stamp - 5_000)
        if not follow:
            return
        time.sleep(1)


def _pages(client: Any, call: str, key: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(call).paginate(**arguments):
        yield from page[key]
