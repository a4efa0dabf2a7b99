"""Orderflow as a customer sees it: a small client of the API."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.cloud import Cloud, unique
from tests.support.polling import eventually

Answer = dict[str, Any]


@dataclass(frozen=True)
class Customer:
    """Somebody whom no other test knows."""

    id: str = field(default_factory=lambda: unique("customer"))

    @property
    def email(self) -> str:
        """Where the mails go."""
        return f"{self.id}@example.com"


class Shop:
    """The API; every method that is not `request` fails on an unexpected status."""

    def __init__(self, cloud: Cloud, *, patience: float = 0) -> None:
        """`patience`: for how many seconds what answers 503 is read again, as it says itself."""
        self.cloud = cloud
        self._patience = patience
        # A request may meet a cold start behind other tests' cold starts.
        self._http = httpx.Client(base_url=cloud.api_url, timeout=60)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and return whatever comes; an answer of 5xx is never right."""
        deadline = time.monotonic() + (self._patience if method == "GET" else 0)
        while True:
            answer = self._http.request(method, path, **options)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                break
            time.sleep(1)
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
        return answer

    def stock(
        self, quantity: int, *, unit_price: int = 250, currency: str = "EUR", sku: str | None = None
    ) -> str:
        """Receive units of a product of one's own; return its sku once customers can see it."""
        sku = sku or unique("sku")
        product = {
            "sku": sku,
            "name": f"Thing {sku}",
            "unit_price": unit_price,
            "currency": currency,
            "quantity": quantity,
        }
        self.cloud.invoke(
            "inventory-local-receiveStock",
            {"delivery_id": unique("delivery"), "products": [product]},
        )
        eventually(lambda: self.product(sku), f"{sku} is listed")
        return sku

    def product(self, sku: str) -> Answer | None:
        """Return a product as it is listed, or None."""
        # A page that begins right after the sku's own prefix begins with the sku.
        found = self.get("/products", cursor=sku[:-1], limit="1")["products"]
        return found[0] if found and found[0]["sku"] == sku else None

    def get(self, path: str, **params: str) -> Answer:
        """Return what stands under a path."""
        answer = self.request("GET", path, params=params)
        assert answer.status_code == httpx.codes.OK, answer.text
        content: Answer = answer.json()
        return content

    def try_to_place(
        self,
        lines: Mapping[str, int],
        *,
        customer: Customer | None = None,
        token: str = "tok_visa",  # noqa: S107 - a name in the sandbox, not a secret
        key: str | None = None,
        currency: str = "EUR",
    ) -> httpx.Response:
        """Send an order of so many of each sku; return whatever comes."""
        body = order_body(lines, customer or Customer(), token=token, currency=currency)
        headers = {"Idempotency-Key": key} if key else {}
        return self.request("POST", "/orders", json=body, headers=headers)

    def place(self, lines: Mapping[str, int], **options: Any) -> str:
        """Place an order; return its id."""
        answer = self.try_to_place(lines, **options)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        order_id: str = answer.json()["order_id"]
        return order_id

    def order(self, order_id: str) -> Answer:
        """Return an order as it stands."""
        return self.get(f"/orders/{order_id}")

    def closed(self, order_id: str, *, within: float = 120) -> Answer:
        """Wait until the order is no longer PLACED, and return it."""

        def probe() -> Answer | None:
            order = self.order(order_id)
            return None if order["status"] == "PLACED" else order

        return eventually(probe, f"order {order_id} is closed", within=within) or {}

    def buy(self, lines: Mapping[str, int], **options: Any) -> Answer:
        """Place an order and return it as it ended."""
        return self.closed(self.place(lines, **options))

    def can_buy_exactly(self, sku: str, quantity: int) -> None:
        """Check by buying that so many units are for sale, and not one more."""
        if quantity:
            assert self.buy({sku: quantity})["status"] == "CONFIRMED", f"{quantity} of {sku}"
        one_more = self.buy({sku: 1})
        assert one_more["reason"] == "OUT_OF_STOCK", f"more than {quantity} of {sku}: {one_more}"

    def cancel(self, order_id: str) -> httpx.Response:
        """Ask for cancellation; return whatever comes."""
        return self.request("POST", f"/orders/{order_id}/cancel")

    def timeline(self, order_id: str) -> list[Answer]:
        """Return the saga's steps, oldest first."""
        steps: list[Answer] = self.get(f"/orders/{order_id}/timeline")["steps"]
        return steps

    def mails(self, customer: Customer, count: int) -> list[str]:
        """Wait for so many mails to the customer; return the ends of their subjects."""
        eventually(
            lambda: len(self.cloud.mails(customer.email)) >= count, f"{count} mails were sent"
        )
        subjects = [mail["Subject"] for mail in self.cloud.mails(customer.email)]
        return [subject.partition(": ")[2] for subject in subjects]

    def told(self, customer: Customer, end: str) -> str:
        """Wait for the mail whose subject ends so; it came once. Return its text.

        Mails have no order, and older news that is overtaken is not sent.
        """

        def found() -> list[Answer]:
            mails = self.cloud.mails(customer.email)
            return [mail for mail in mails if mail["Subject"].endswith(f": {end}")]

        (mail,) = eventually(found, f"a mail says {end}")
        text: str = mail["Body"]["text_part"]
        return text


def order_body(
    lines: Mapping[str, int],
    customer: Customer,
    *,
    token: str = "tok_visa",  # noqa: S107 - as above
    currency: str = "EUR",
) -> Answer:
    """Return the body of `POST /orders`."""
    return {
        "customer_id": customer.id,
        "email": customer.email,
        "currency": currency,
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()],
        "payment_token": token,
    }


def problem(answer: httpx.Response, status: int) -> Answer:
    """Check that the answer is a problem of this status, in RFC 9457's form; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content: Answer = json.loads(answer.content)
    assert content["status"] == status
    assert content["title"]
    assert content["detail"]
    return content
