"""Calls that LocalStack makes to itself over HTTP, made less often.

It tells CloudWatch of each message that is sent, received or deleted, and of each call of a
function, in a call for each: a fifth of all its requests (counted with ten orders in flight). Here
they are told together, once a second, with the times at which they happened.

And each task of a saga assumed the state machine's role and made a client of its own, though both
are good for an hour.
"""

import functools
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

from localstack.aws.connect import connect_to
from localstack.runtime.hooks import on_infra_start
from localstack.services.lambda_.invocation import metrics as lambda_metrics
from localstack.services.sqs import provider as sqs
from localstack.services.stepfunctions.asl.utils import boto_client
from localstack.utils.bootstrap import is_api_enabled

TELLING_SECONDS = 1.0
MOST_DATA = 1000
"""What PutMetricData takes at once."""

ROLE_SECONDS = 600
MOST_ROLES = 64

LOG = logging.getLogger(__name__)


@on_infra_start()  # type: ignore[untyped-decorator]
def fewer_calls_to_itself() -> None:
    """Called by LocalStack once, before it starts its services."""
    metrics = Metrics()
    setattr(sqs, "publish_sqs_metric", metrics.of_a_queue)  # noqa: B010 (mypy allows no other)
    setattr(lambda_metrics, "publish_lambda_metric", metrics.of_a_function)  # noqa: B010
    threading.Thread(target=metrics.tell_for_ever, name="metrics", daemon=True).start()
    setattr(boto_client, "connect_to", Roles(connect_to))  # noqa: B010


class Metrics:
    """What CloudWatch is to be told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str | None, str | None, str], list[dict[str, Any]]] = {}

    def of_a_queue(
        self,
        *,
        account_id: str,
        region: str,
        queue_name: str,
        metric: str,
        value: float = 1,
        unit: str = "Count",
    ) -> None:
        """Keep a datum of `AWS/SQS`; in the place of LocalStack's `publish_sqs_metric`."""
        dimensions = [{"Name": "QueueName", "Value": queue_name}]
        datum = {"MetricName": metric, "Dimensions": dimensions, "Value": value, "Unit": unit}
        self._keep((account_id, region, "AWS/SQS"), datum)

    def of_a_function(
        self,
        metric: str,
        value: float,
        kwargs: dict[str, Any],
        account_id: str | None = None,
        region_name: str | None = None,
    ) -> None:
        """Keep a datum of `AWS/Lambda`; in the place of LocalStack's `publish_lambda_metric`."""
        dimensions = [{"Name": "FunctionName", "Value": kwargs["func_name"]}]
        datum = {"MetricName": metric, "Dimensions": dimensions, "Value": value}
        self._keep((account_id, region_name, "AWS/Lambda"), datum)

    def _keep(self, whose: tuple[str | None, str | None, str], datum: dict[str, Any]) -> None:
        with self._lock:
            self._waiting.setdefault(whose, []).append({**datum, "Timestamp": datetime.now(UTC)})

    def tell_for_ever(self) -> None:
        """Tell once in a while."""
        while True:
            time.sleep(TELLING_SECONDS)
            self.tell()

    def tell(self) -> None:
        """Tell CloudWatch what has come in since."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        if not is_api_enabled("cloudwatch"):
            return
        for (account, region, namespace), data in waiting.items():
            for start in range(0, len(data), MOST_DATA):
                try:
                    client = connect_to(aws_access_key_id=account, region_name=region).cloudwatch
                    client.put_metric_data(
                        Namespace=namespace, MetricData=data[start : start + MOST_DATA]
                    )
                except Exception as error:  # noqa: BLE001 (as LocalStack does: nothing hangs on it)
                    LOG.info("CloudWatch was not told of %s metrics: %s", namespace, error)


class Roles:
    """Makes clients as LocalStack's `connect_to` does, and assumes a role once in ten minutes."""

    def __init__(self, connect: Any, clock: Any = time.monotonic) -> None:
        self._clock = clock

        @functools.lru_cache(MOST_ROLES)
        def assumed(_period: int, **asked: Any) -> Any:
            return connect.with_assumed_role(**asked)

        self._assumed = assumed

    def with_assumed_role(self, **asked: Any) -> Any:
        """Return what `connect_to.with_assumed_role` does."""
        return self._assumed(int(self._clock() / ROLE_SECONDS), **asked)
