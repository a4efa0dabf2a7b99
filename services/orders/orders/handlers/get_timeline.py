"""GET /orders/{order_id}/timeline."""

from typing import Any

from orders import answers, bootstrap, http
from orders.timeline import of_order
from shared.observability import logger

log = logger()
orders = bootstrap.order_book()
history = bootstrap.saga_history()


@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 200 with each step of the order's saga and of its repairs, or 404."""
    order = orders.get(http.order_id(event))
    if order is None:
        raise http.NotFound
    return http.json(200, answers.Timeline(order.id, order.status, of_order(order, history)))
