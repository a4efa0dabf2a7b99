"""What a real saga enters is what the state machine's file says, and what is paid for."""

import pytest

from bench.order_profile import entered
from bench.transitions import ANSWERS, definition, states_entered
from tests.support.cloud import ACCOUNT, REGION, Cloud
from tests.support.shop import Shop

PLACING = {
    "confirmed": {"quantity": 1, "token": "tok_visa"},
    "refused": {"quantity": 1_000, "token": "tok_visa"},
    "compensated": {"quantity": 1, "token": "tok_declined"},
}


@pytest.mark.parametrize("outcome", ANSWERS)
def test_an_order_pays_for_the_states_on_its_path(cloud: Cloud, shop: Shop, outcome: str) -> None:
    order = PLACING[outcome]
    sku = shop.stock(2)
    order_id = shop.place({sku: int(order["quantity"])}, token=str(order["token"]))
    shop.closed(order_id)
    history = cloud.client("stepfunctions").get_execution_history(
        executionArn=f"arn:aws:states:{REGION}:{ACCOUNT}:execution:"
        f"local-orderflow-place-order:{order_id}",
        maxResults=1000,
    )
    path = states_entered(definition(), ANSWERS[outcome])
    # The order is closed a moment before its saga's last state is entered.
    assert entered(history["events"])[: len(path) - 1] == path[:-1]
