"""What S3 tells of, read: keys as people wrote them, versions, and no folders."""

from typing import Any

import pytest

from inventory.adapters.files import price_lists_in
from inventory.imports import PriceList
from shared.errors import UnreadableMessage


def event(key: str, **rest: Any) -> Any:
    thing = {"key": key, "size": 3, "eTag": "e", "sequencer": "0055AED6DCD90281E5", **rest}
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": thing}}
    return {"Records": [record]}


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ("incoming/spring+list.csv", "incoming/spring list.csv"),
        ("incoming/Fr%C3%BChling+%2B1+%E6%98%A5.csv", "incoming/Frühling +1 春.csv"),
        ("incoming/a/b%26c%3D%25.csv", "incoming/a/b&c=%.csv"),
    ],
)
def test_a_key_is_read_as_it_was_written(told: str, key: str) -> None:
    (found,) = price_lists_in(event(told, versionId="v1"))
    assert found == PriceList("b", key, "v1")
    assert found.report_key == key.replace("incoming/", "rejected/")


def test_a_folder_made_in_the_console_is_no_price_list() -> None:
    assert price_lists_in(event("incoming/2026/", versionId="v1")) == []


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (None, "Records"),
        ({}, "Records"),
        ({"Records": "x"}, "Records"),
        ({"Records": [{}]}, "s3"),
        ({"Records": ["x"]}, "event of S3"),
        (event("incoming/a.csv"), "versionId"),
    ],
)
def test_what_is_no_event_of_a_versioned_bucket_is_refused_by_name(
    payload: Any, named: str
) -> None:
    with pytest.raises(UnreadableMessage, match=named):
        price_lists_in(payload)
