"""POST /orders."""

from typing import Any

from orders import answers, bootstrap, http
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
            answers.NotInCatalogue(
                unknown_skus=placed.unknown, other_currency_skus=placed.other_currency
            )
        )
    if isinstance(placed, KeyReused):
        return http.problem(answers.KeyReused())
    order = placed.order
    with correlated(log, str(order.id)):
        log.info("order_placed", replayed=placed.replayed, saga_started=placed.saga_started)
    count(meter, "OrderReplayed" if placed.replayed else "OrderPlaced")
    # Also where it is closed by now: a replay has the first answer.
    view = answers.Placed(order.id, "PLACED", order.total, order.currency)
    return http.json(202, view, {"Location": f"/orders/{order.id}"})
