"""Structured logs and metrics (Powertools), identical in every function.

Every line carries `order_id`, the correlation id of the whole system, from the HTTP request to
the last consumer. Facts are logged once, at the edge: `order_placed`, not "starting" and "done".
"""

from collections.abc import Iterator
from contextlib import contextmanager

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit


def logger() -> Logger:
    """Return this function's logger; service name and level come from POWERTOOLS_* variables."""
    return Logger(utc=True)


def metrics() -> Metrics:
    """Return this function's metrics (CloudWatch EMF).

    The namespace comes from POWERTOOLS_METRICS_NAMESPACE: each stage has its own, so that no
    stage's alarm rings for another's trouble.
    """
    return Metrics()


def count(sink: Metrics, name: str, value: int = 1) -> None:
    """Add `value` to the counter `name` of this invocation."""
    sink.add_metric(name=name, unit=MetricUnit.Count, value=value)


@contextmanager
def correlated(log: Logger, order_id: str) -> Iterator[None]:
    """Put `order_id` on every line logged inside the block, and take it off afterwards."""
    log.append_keys(order_id=order_id)
    try:
        yield
    finally:
        log.remove_keys(["order_id"])
