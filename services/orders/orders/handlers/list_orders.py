"""GET /orders?customer_id=&limit=&cursor=."""

from typing import Any

from orders import answers, bootstrap, http
from orders.requests import list_orders_request
from shared.observability import logger
from shared.warm_up import answers_pings

log = logger()
orders = bootstrap.order_book()


@answers_pings
@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 200 with a page of the customer's orders, newest first."""
    wanted = list_orders_request(http.query(event))
    # One more than asked for: its presence says that there is a next page.
    found = orders.page(wanted.customer_id, before=wanted.before, limit=wanted.limit + 1)
    page = found[: wanted.limit]
    more = len(found) > wanted.limit
    orders_seen = tuple(http.order_view(order) for order in page)
    return http.json(200, answers.OrdersPage(orders_seen, page[-1].id if more else None))
