"""The money's two steps, and a death before or after each thing that they do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from orders.adapters.payments import SqlPayments
from orders.adapters.sandbox_gateway import SandboxGateway
from orders.use_cases import charge_payment, refund_payment

CHARGE_DEATHS = [
    f"{when} {call}" for call in ("open", "charge", "settle") for when in ("before", "after")
]
REFUND_DEATHS = [
    f"{when} {call}"
    for call in ("begin_refund", "reverse", "end_refund")
    for when in ("before", "after")
]


class Died(Exception):
    """Raised where a test lets the process die."""


@dataclass
class Mortal:
    """Passes calls on, and dies before or after those that a test names, each once."""

    inner: Any
    deaths: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._die(f"before {name}")
            result = getattr(self.inner, name)(*args, **kwargs)
            self._die(f"after {name}")
            return result

        return call

    def _die(self, place: str) -> None:
        if place in self.deaths:
            self.deaths.discard(place)
            raise Died(place)


class Till:
    """The two saga steps on one order, on a database connection of their own."""

    def __init__(
        self,
        engine: sa.Engine,
        order_id: UUID,
        *,
        token: str = "tok_visa",  # noqa: S107
        amount: int = 1800,
    ) -> None:
        self.order_id = order_id
        self.token = token
        self.amount = amount
        self.payments = Mortal(SqlPayments(engine))
        self.gateway = Mortal(SandboxGateway(engine))

    def charge(self, *deaths: str) -> Any:
        return self._step(
            partial(charge_payment, amount=self.amount, currency="EUR", token=self.token), deaths
        )

    def refund(self, *deaths: str) -> Any:
        return self._step(refund_payment, deaths)

    def _step(self, step: Callable[..., Any], deaths: tuple[str, ...]) -> Any:
        self.payments.deaths, self.gateway.deaths = set(deaths), set(deaths)
        return step(self.order_id, payments=self.payments, gateway=self.gateway)
