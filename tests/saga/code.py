"""What the code says that the saga's file must agree with."""

import inventory.domain
import orders.domain
from shared.contracts.orders import CancelShipment, CreateShipment, ReleaseStock, ReserveStock
from tests.saga.lint import Code

CODE = Code(
    outcomes={
        "Reserve Stock": inventory.domain.RESERVE_OUTCOMES,
        "Charge Payment": orders.domain.CHARGE_OUTCOMES,
        "Create Shipment": inventory.domain.SHIP_OUTCOMES,
        "Confirm Order": orders.domain.CONFIRM_OUTCOMES,
        "Withdraw Confirmation": orders.domain.WITHDRAW_OUTCOMES,
        "Cancel Shipment": inventory.domain.CANCEL_SHIPMENT_OUTCOMES,
        "Refund Payment": orders.domain.REFUND_OUTCOMES,
        "Release Stock": inventory.domain.RELEASE_OUTCOMES,
        "Close Order": orders.domain.CLOSE_OUTCOMES,
    },
    commands={
        "Reserve Stock": ReserveStock.TYPE,
        "Create Shipment": CreateShipment.TYPE,
        "Cancel Shipment": CancelShipment.TYPE,
        "Release Stock": ReleaseStock.TYPE,
    },
    result_keys=tuple(orders.domain._STEPS),
)
