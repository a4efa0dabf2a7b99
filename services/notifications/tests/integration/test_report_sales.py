"""reportSales on a real S3, SES and DynamoDB: a day is mailed once, its files can be renewed."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
)

from notifications import bootstrap
from notifications.adapters.days import DynamoDays
from notifications.domain import Share
from notifications.requests import ReportSales

Handlers = Callable[[str], ModuleType]
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
KEYS = [f"sales/{YESTERDAY}.csv", f"sales/{YESTERDAY}.svg"]


@pytest.fixture(autouse=True)
def bucket(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    name = cloud.tables.days.replace("-days", "-reports")
    cloud.client("s3").create_bucket(Bucket=name)
    monkeypatch.setenv("REPORTS_BUCKET", name)
    return str(name)


def sell(cloud: Any, units: int) -> None:
    days = DynamoDays(cloud.client("dynamodb"), cloud.tables.days)
    share = Share("sale#MUG", YESTERDAY, {"units": units, "revenue_EUR": units * 100})
    assert days.absorb("0", share)


def read(cloud: Any, bucket: str, key: str) -> str:
    return str(cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())


def told(cloud: Any) -> list[dict[str, Any]]:
    mails: list[dict[str, Any]] = cloud.mails(os.environ["OPERATOR_EMAIL"])
    return mails


def test_the_day_that_is_over_is_written_and_mailed(
    cloud: Any, handlers: Handlers, bucket: str
) -> None:
    sell(cloud, 7)
    answer = handlers("report_sales").handler({}, cloud.invocation())
    assert answer["outcome"] == "mailed"
    assert answer["files"] == [f"s3://{bucket}/{key}" for key in KEYS]
    assert f"{YESTERDAY},0,0,0,0,7,0,700\n" in read(cloud, bucket, KEYS[0])
    assert read(cloud, bucket, KEYS[1]).startswith("<svg")
    (mail,) = told(cloud)
    assert "Units sold: 7" in mail["Body"]["text_part"]
    assert all(place in mail["Body"]["text_part"] for place in answer["files"])


def test_a_second_run_mails_nobody_and_says_so(cloud: Any, handlers: Handlers) -> None:
    handler = handlers("report_sales").handler
    handler({}, cloud.invocation())
    assert handler({}, cloud.invocation())["outcome"] == "duplicate"
    assert len(told(cloud)) == 1


def test_files_are_renewed_when_asked_for_and_nobody_is_mailed_again(
    cloud: Any, handlers: Handlers, bucket: str
) -> None:
    handler = handlers("report_sales").handler
    handler({}, cloud.invocation())
    sell(cloud, 9)
    answer = handler({"day": str(YESTERDAY), "again": True}, cloud.invocation())
    assert answer["outcome"] == "written"
    assert f"{YESTERDAY},0,0,0,0,9,0,900\n" in read(cloud, bucket, KEYS[0])
    assert len(told(cloud)) == 1


def test_while_another_run_is_at_the_day_a_second_one_fails_and_mails_nothing(
    cloud: Any, handlers: Handlers
) -> None:
    handler = handlers("report_sales").handler
    met = []

    class Meanwhile:
        """An SES before whose mail another run of the function begins."""

        def __init__(self, client: Any) -> None:
            self._client = client

        def send_email(self, **arguments: Any) -> Any:
            with pytest.raises(IdempotencyAlreadyInProgressError):
                handler({}, cloud.invocation())
            met.append(len(told(cloud)))
            return self._client.send_email(**arguments)

    slow = bootstrap.report_sales(
        lambda name: Meanwhile(cloud.client(name)) if name == "ses" else cloud.client(name)
    )
    assert slow(ReportSales(None, again=False), cloud.invocation())["outcome"] == "mailed"
    assert met == [0]
    assert len(told(cloud)) == 1


def test_killed_before_the_mail_a_report_is_made_when_it_is_called_again(
    cloud: Any, handlers: Handlers
) -> None:
    dying = bootstrap.report_sales(cloud.dying("ses", "send_email", after=False))
    with pytest.raises(cloud.Killed):
        dying(ReportSales(None, again=False), cloud.invocation(milliseconds_left=0))
    assert handlers("report_sales").handler({}, cloud.invocation())["outcome"] == "mailed"
    assert len(told(cloud)) == 1
