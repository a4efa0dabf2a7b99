"""GET /orders/{order_id}."""

from typing import Any

from orders import bootstrap, http
from shared.observability import logger
from shared.warm_up import answers_pings

log = logger()
orders = bootstrap.order_book()


@answers_pings
@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 200 with the order, or 404."""
    order = orders.get(http.order_id(event))
    if order is None:
        raise http.NotFound
    return http.json(200, http.order_view(order))
