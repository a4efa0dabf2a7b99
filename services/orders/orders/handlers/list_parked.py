"""For operators: the orders that wait for one, with the undo that failed, its cause, since when."""

from typing import Any

from orders import bootstrap
from orders.requests import list_parked_request

orders = bootstrap.order_book()


def handler(command: Any, _context: Any) -> dict[str, Any]:
    """Take `{"limit", "after"}`, both optional; answer a page, and the `after` of the next one."""
    wanted = list_parked_request(command)
    # One more than asked for: its presence says that there is a next page.
    found = orders.waiting(after=wanted.after, limit=wanted.limit + 1)
    page = found[: wanted.limit]
    return {
        "parked": [
            {
                "order_id": str(order.order_id),
                "status": order.status.value,
                "step": order.step,
                "cause": order.cause,
                "since": order.since.isoformat(),
            }
            for order in page
        ],
        "next": str(page[-1].order_id) if len(found) > wanted.limit else None,
    }
