"""POST /orders."""

from typing import Any

from orders import bootstrap, http
from orders.domain import KeyReused, NotInCatalogue
from orders.requests import place_order_request
from shared.observability import correlated, count, logger, metrics
from shared.warm_up import answers_pings

log = logger()
meter = metrics()
place_order = bootstrap.place_order()


@answers_pings
@meter.log_metrics
@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 202 with the order, or say why not."""
    placed = place_order(place_order_request(http.body(event), http.headers(event)))
    if isinstance(placed, NotInCatalogue):
        return http.problem(
            422,
            "Not in the catalogue",
            "Some skus are unknown, or not sold in this currency.",
            unknown_skus=placed.unknown,
            other_currency_skus=placed.other_currency,
        )
    if isinstance(placed, KeyReused):
        return http.problem(
            409,
            "Idempotency key reused",
            "This Idempotency-Key came with another body before; use a new key.",
        )
    order = placed.order
    with correlated(log, str(order.id)):
        log.info("order_placed", replayed=placed.replayed, saga_started=placed.saga_started)
    count(meter, "OrderReplayed" if placed.replayed else "OrderPlaced")
    view = {
        "order_id": str(order.id),
        "status": "PLACED",
        "total": order.total,
        "currency": order.currency,
    }
    return http.json(202, view, {"Location": f"/orders/{order.id}"})
