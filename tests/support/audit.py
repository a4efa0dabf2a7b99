"""The audit as the oracle of tests: nothing is lost, doubled, or half undone."""

from collections.abc import Sequence
from typing import Any

from tests.support.cloud import Cloud
from tests.support.polling import eventually

# Nothing may be on its way any more: who asks so waits until it has arrived.
AT_ONCE = {"sagas": 0, "outboxes": 0, "effects": 0}


def violations(cloud: Cloud, **patience: int) -> list[str]:
    """Return each violation that the audit of the running cloud names, as a line."""
    findings: list[dict[str, Any]] = cloud.invoke("operations-local-audit", AT_ONCE | patience)[
        "findings"
    ]
    assert findings, "an audit that checks nothing"
    return [
        f"{finding['invariant']}: {found['subject']} is {found['actual']},"
        f" should be {found['expected']}"
        for finding in findings
        for found in finding["violations"]
    ]


def silent(
    cloud: Cloud, *, made_up: Sequence[str] = (), within: float = 90, **patience: int
) -> None:
    """Wait until the audit finds nothing; fail with what it found at last.

    What comes of the orders and skus in `made_up` is taken out of the books each time: it may come
    after whoever made it up has looked for the last time.
    """
    seen: list[list[str]] = []

    def nothing() -> bool:
        if made_up:
            cloud.forget(made_up)
        seen.append(violations(cloud, **patience))
        return not seen[-1]

    try:
        eventually(nothing, "the audit is silent", within=within, every=1)
    except AssertionError as error:
        raise AssertionError("\n  ".join(["the audit found:", *seen[-1]])) from error
