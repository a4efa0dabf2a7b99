"""A price list in the bucket becomes products that customers see and can buy, once."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.chaos.ground import Ground
from tests.support.cloud import ACCOUNT, REGION, Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Shop

BUCKET = f"local-orderflow-imports-{ACCOUNT}-{REGION}"
FUNCTION = "inventory-local-importStock"
HEADER = "sku,name,unit_price,currency,quantity"

Put = Callable[..., tuple[str, str]]


@pytest.fixture
def put(cloud: Cloud) -> Put:
    """Return what puts rows under a key; it returns that key and the version."""

    def put_rows(*rows: str, name: str = "", header: str = HEADER) -> tuple[str, str]:
        key = f"incoming/{name or unique('list')}.csv"
        body = "\n".join([header, *rows, ""]).encode()
        answer = cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return key, answer["VersionId"]

    return put_rows


def outcome(cloud: Cloud, sent: tuple[str, str]) -> dict[str, Any]:
    key, version = sent
    asked = {"key": key, "version": version}
    found = eventually(
        lambda: cloud.invoke("inventory-local-getImport", asked)["outcome"], f"{key} is imported"
    )
    return found or {}


def report(cloud: Cloud, key: str) -> list[dict[str, str]]:
    body = cloud.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return list(csv.DictReader(io.StringIO(body.decode())))


def test_a_price_list_is_seen_by_customers_and_can_be_bought_once(
    cloud: Cloud, shop: Shop, put: Put
) -> None:
    sku = unique("sku")
    name = f"Frühling & Sommer +1 ({unique('list')}) 春"
    sent = put(f"{sku},Thing ☕,250,EUR,2", f"{sku}-bad,Thing,cheap,EUR,2", name=name)

    found = outcome(cloud, sent)

    assert (found["rows"], found["applied"], found["units"]) == (2, 1, 2)
    (rejected,) = report(cloud, f"rejected/{name}.csv")
    assert (rejected["line"], rejected["field"]) == ("3", "unit_price")
    assert rejected["row"] == f"{sku}-bad,Thing,cheap,EUR,2"
    product = eventually(lambda: shop.product(sku), f"{sku} is listed")
    assert product is not None
    assert (product["name"], product["unit_price"]) == ("Thing ☕", 250)
    # S3 may tell of one version twice.
    assert again(cloud, sent)["duplicate"] is True
    shop.can_buy_exactly(sku, 2)


def test_a_new_price_reaches_customers(cloud: Cloud, shop: Shop, put: Put) -> None:
    sku = shop.stock(1, unit_price=250)

    outcome(cloud, put(f"{sku},Thing,199,EUR,0"))

    def cheaper() -> bool:
        product = shop.product(sku)
        return product is not None and product["unit_price"] == 199

    eventually(cheaper, f"{sku} costs less")
    shop.can_buy_exactly(sku, 1)


def test_a_file_that_is_no_price_list_is_reported_and_harms_nothing(cloud: Cloud, put: Put) -> None:
    key, version = put("\x00\x01", header="PK\x03\x04")

    assert outcome(cloud, (key, version))["applied"] == 0

    (rejected,) = report(cloud, key.replace("incoming/", "rejected/"))
    assert (rejected["line"], rejected["field"]) == ("1", "header")


@pytest.mark.parametrize("at", ["s3:PutObject", "sns:PublishBatch"])
def test_an_import_that_is_killed_is_finished_by_its_retry(
    cloud: Cloud, shop: Shop, ground: Ground, put: Put, at: str
) -> None:
    sku, name = unique("sku"), unique("killed")
    rule = {
        "function": FUNCTION,
        "where": {"Records.0.s3.object.key": f"incoming/{name}.csv"},
        "at": at,
        "do": "kill",
        "times": 1,
    }
    with ground.faults.during(rule) as (fault,):
        sent = put(f"{sku},Thing,250,EUR,2", "?", name=name)
        eventually(lambda: ground.faults.all()[fault]["hits"], "it is killed")
        found = outcome(cloud, sent)

    assert (found["applied"], found["rejected"], found["units"]) == (1, 1, 2)
    assert len(report(cloud, f"rejected/{name}.csv")) == 1
    eventually(lambda: shop.product(sku), f"{sku} is listed")
    shop.can_buy_exactly(sku, 2)


def test_the_operators_command_says_what_was_rejected(
    cloud: Cloud, shop: Shop, tmp_path: Path
) -> None:
    sku = unique("sku")
    good, bad = tmp_path / f"{unique('good')}.csv", tmp_path / f"{unique('so so')}.csv"
    good.write_text(f"{HEADER}\n{sku},Thing,250,EUR,1\n")
    bad.write_text(f"{HEADER}\n{sku},Thing,250,EUR,1\n{sku},Thing,250,SEK,1\n")

    fine, faulty = (cloud.tool("import_stock", str(path)) for path in (good, bad))
    missing = cloud.tool("import_stock", str(tmp_path / "nothing.csv"))

    assert fine.returncode == 0, fine.stderr
    assert "1 of 1 rows applied, 1 units received, 0 rejected" in fine.stdout
    assert faulty.returncode == 1, faulty.stderr
    assert "1 of 2 rows applied" in faulty.stdout
    assert "currency must be one of EUR, GBP, USD" in faulty.stdout
    assert f"rejected/{bad.name}" in faulty.stdout
    assert (missing.returncode, missing.stderr[:5]) == (2, "FILE:")
    eventually(lambda: shop.product(sku), f"{sku} is listed")
    shop.can_buy_exactly(sku, 2)


def again(cloud: Cloud, sent: tuple[str, str]) -> dict[str, Any]:
    """Tell the function once more of a version, as S3 does."""
    key, version = sent
    thing = {"key": quote_plus(key, safe="/"), "versionId": version}
    event = {"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": thing}}]}
    (found,) = cloud.invoke(FUNCTION, event)
    answer: dict[str, Any] = found
    return answer
