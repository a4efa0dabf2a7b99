"""POST /orders/{order_id}/cancel."""

from typing import Any

from orders import answers, bootstrap, http
from orders.domain import Final
from orders.use_cases import cancel_order
from shared.observability import correlated, count, logger, metrics

log = logger()
meter = metrics()
orders = bootstrap.order_book()


@meter.log_metrics
@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 202 if the cancellation will win, 409 after the pivot, 404."""
    order_id = http.order_id(event)
    answer = cancel_order(order_id, orders=orders)
    if answer is None:
        raise http.NotFound
    if isinstance(answer, Final):
        detail = f"The order is {answer.status.value}."
        return http.problem(answers.TooLate(detail=detail, status_of_order=answer.status))
    with correlated(log, str(order_id)):
        log.info("cancel_requested")
    count(meter, "CancelRequested")
    return http.json(202, http.order_view(answer))
