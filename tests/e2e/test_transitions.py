"""What a real saga enters is what the state machine's file says, and what is paid for."""

import pytest

from bench.order_profile import entered
from bench.transitions import ANSWERS, definition, states_entered
from tests.support.cloud import ACCOUNT, REGION, Cloud
from tests.support.shop import Shop

# How many are ordered where there are two, and how they are paid for.
PLACING = {
    "confirmed": (1, "tok_visa"),
    "refused": (1_000, "tok_visa"),
    "compensated": (1, "tok_declined"),
}


@pytest.mark.parametrize("outcome", ANSWERS)
def test_an_order_pays_for_the_states_on_its_path(cloud: Cloud, shop: Shop, outcome: str) -> None:
    quantity, token = PLACING[outcome]
    order_id = shop.place({shop.stock(2): quantity}, token=token)
    shop.closed(order_id)
    history = cloud.client("stepfunctions").get_execution_history(
        executionArn=f"arn:aws:states:{REGION}:{ACCOUNT}:execution:"
        f"local-orderflow-place-order:{order_id}",
        maxResults=1000,
    )
    path = states_entered(definition(), ANSWERS[outcome])
    # The order is closed a moment before its saga's last state is entered.
    assert entered(history["events"])[: len(path) - 1] == path[:-1]
