"""Print a curl line for every call of the API, with the ids of real orders where there are some.

Each line can be pasted into bash as it is, and so can the whole output.
"""

import json
import os
import shlex
import sys
import uuid
from typing import Any

import httpx

CUSTOMERS = ("demo", "curl")
"""Whose orders to look for: the demo's, then those that these lines have placed."""
SOME_ID = "00000000-0000-7000-8000-000000000000"
DATA_TYPE = "Content-Type: application/json"


def base_url() -> str:
    """Return the API's base URL, as `make url` prints it."""
    port = os.environ.get("ORDERFLOW_PORT", "4566")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}").rstrip("/")
    return f"{endpoint}/_aws/execute-api/orders-local/local"


def curl(*arguments: str) -> str:
    """Return one command line; the echo ends the answer's line."""
    return f"curl -sS {shlex.join(arguments)}; echo"


def found(http: httpx.Client) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Return recent orders, a product, and the customer whose orders they are."""
    products = _get(http, "/products", limit="100")["products"]
    # What the demo delivered is surely on the shelf; of the rest, nobody knows.
    product = next((p for p in products if p["sku"] == "MUG-BLUE"), products[0] if products else {})
    for customer in CUSTOMERS:
        orders = _get(http, "/orders", customer_id=customer, limit="100")["orders"]
        if orders:
            return orders, product, customer
    return [], product, CUSTOMERS[-1]


def _get(http: httpx.Client, path: str, **query: str) -> Any:
    return http.get(path, params=query).raise_for_status().json()


def examples(
    base: str, orders: list[dict[str, Any]], product: dict[str, Any], customer: str
) -> list[tuple[str, str]]:
    """Return (what it does, command line) for every call."""
    newest = orders[0]["order_id"] if orders else SOME_ID
    # The longest story first: an order that was undone shows more than one that was not.
    undone = next((o["order_id"] for o in orders if o["status"] == "REJECTED"), newest)
    body = json.dumps(
        {
            "customer_id": customer,
            "email": f"{customer}@example.com",
            "currency": product.get("currency", "EUR"),
            "lines": [{"sku": product.get("sku", "MUG-BLUE"), "quantity": 1}],
            "payment_token": "tok_visa",
        }
    )
    page = f"{base}/orders?customer_id={customer}&limit=2"
    key = f"Idempotency-Key: {uuid.uuid4()}"
    return [
        ("What the API can do; as a page: /docs", curl(f"{base}/openapi.json")),
        ("The products", curl(f"{base}/products")),
        (
            "Place an order: run twice, placed once. Or: tok_declined, tok_error, tok_timeout",
            curl("-i", "-X", "POST", f"{base}/orders", "-H", DATA_TYPE, "-H", key, "-d", body),
        ),
        ("One order", curl(f"{base}/orders/{newest}")),
        ("What its saga did, step by step", curl(f"{base}/orders/{undone}/timeline")),
        (f"The orders of {customer}, newest first, two a page", curl(page)),
        (
            "The page after it: the cursor is the last page's next_cursor",
            curl(f"{page}&cursor={orders[1]['order_id'] if len(orders) > 1 else newest}"),
        ),
        (
            "Ask for cancellation: 202 while it can still win, 409 once the order is closed",
            curl("-X", "POST", f"{base}/orders/{newest}/cancel", "-H", DATA_TYPE),
        ),
    ]


def main() -> int:
    """Print the examples; 2 if there is no API."""
    base = base_url()
    # Loopback only: a proxy from the environment would be in the way.
    with httpx.Client(base_url=base, timeout=30, trust_env=False) as http:
        try:
            orders, product, customer = found(http)
        except httpx.TransportError as error:
            print(f"Nothing answers at {base} ({error}). Start it: make up deploy", file=sys.stderr)
            return 2
        except httpx.HTTPStatusError as error:
            print(f"{error}\nIs it deployed? make deploy", file=sys.stderr)
            return 2
    if not product:
        print("# There are no products yet: make demo brings some.")
    if not orders:
        print(f"# There are no orders yet: replace {SOME_ID} by the id of one that you placed.")
    for what, line in examples(base, orders, product, customer):
        print(f"# {what}\n{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
