"""The edge: whatever comes in, an answer that is right about whose fault it is goes out."""

import base64
import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from aws_lambda_powertools import Logger
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from orders import http
from orders.requests import MAX_BODY_BYTES, Fault, InvalidRequest
from shared.errors import TransientFault

log = Logger(service="http-test", level="CRITICAL")


def answer_to(raised: BaseException) -> dict[str, Any]:
    @http.endpoint(log)
    def handler(_event: Any) -> http.Answer:
        raise raised

    return handler({}, None)


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (InvalidRequest(Fault("email", "is required")), 400),
        (http.NotFound(), 404),
        (http.TooLarge(), 413),
        (TransientFault("StartExecution"), 503),
        (OperationalError("SELECT secrets", {}, Exception("down")), 503),
        (KeyError("order_id"), 500),
    ],
)
def test_each_fault_gets_a_problem_of_its_own_status(raised: Exception, status: int) -> None:
    answer = answer_to(raised)
    body = json.loads(answer["body"])
    assert answer["statusCode"] == body["status"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert {"type", "title", "detail"} <= set(body)


def test_an_invalid_request_names_its_fields() -> None:
    body = json.loads(answer_to(InvalidRequest(Fault("a", "x"), Fault("b", "y")))["body"])
    assert body["errors"] == [{"field": "a", "message": "x"}, {"field": "b", "message": "y"}]


def test_a_fault_of_ours_tells_nothing_of_our_inside() -> None:
    answer = answer_to(RuntimeError("password=hunter2"))
    assert "hunter2" not in json.dumps(answer)


def test_the_end_of_the_process_is_not_answered() -> None:
    with pytest.raises(SystemExit):
        answer_to(SystemExit(1))


def event(text: str | None, *, encoded: bool = False) -> dict[str, Any]:
    return {"body": text, "isBase64Encoded": encoded}


def test_no_body_is_an_empty_body() -> None:
    assert http.body(event(None)) == http.body({}) == b""


def test_a_base64_body_is_decoded() -> None:
    assert http.body(event(base64.b64encode(b"{}").decode(), encoded=True)) == b"{}"


@pytest.mark.parametrize("text", ["é", "===", "a", "\0", "{}", "\ud800"])
def test_what_is_no_base64_is_a_fault_of_the_client(text: str) -> None:
    with pytest.raises(InvalidRequest, match="base64"):
        http.body(event(text, encoded=True))


def test_the_limit_counts_bytes_not_characters() -> None:
    assert len(http.body(event("x" * MAX_BODY_BYTES))) == MAX_BODY_BYTES
    for text in ("x" * (MAX_BODY_BYTES + 1), "é" * (MAX_BODY_BYTES // 2 + 1)):
        with pytest.raises(http.TooLarge):
            http.body(event(text))
    with pytest.raises(http.TooLarge):
        http.body(event(base64.b64encode(b"x" * (MAX_BODY_BYTES + 1)).decode(), encoded=True))


@given(text=st.text(st.characters()), encoded=st.booleans())
def test_any_body_is_read_or_is_a_fault_of_the_client(text: str, encoded: bool) -> None:
    refusal: tuple[type[Exception], ...] = (InvalidRequest,) if encoded else ()
    with suppress(*refusal):
        assert isinstance(http.body(event(text, encoded=encoded)), bytes)


@given(st.text(st.characters()) | st.uuids().map(str))
def test_a_path_names_an_order_or_nothing(text: str) -> None:
    with suppress(http.NotFound):
        assert isinstance(http.order_id({"pathParameters": {"order_id": text}}), UUID)


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_path_without_an_order_id_names_nothing(parameters: Any) -> None:
    with pytest.raises(http.NotFound):
        http.order_id({"pathParameters": parameters})


def test_header_names_have_no_case() -> None:
    assert http.headers({"headers": {"IDEMPOTENCY-Key": "k"}}) == {"idempotency-key": "k"}
    assert http.headers({"headers": None}) == http.headers({}) == {}


def test_no_query_is_an_empty_query() -> None:
    assert http.query({"queryStringParameters": None}) == http.query({}) == {}
