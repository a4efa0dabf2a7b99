"""What an order costs on AWS: prices times what one order was measured to use.

Pure arithmetic, so that every figure can be worked out by hand (tests/bench/test_cost_model.py).
All money is in US dollars. Storage, data transfer and the databases are not in it: no stack here
owns a database server yet.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MONTH_SECONDS = 730 * 3600
"""AWS's own month."""

Prices = Mapping[str, Mapping[str, Any]]


class BadInput(Exception):
    """A price or a profile that cannot be used; the text names the field."""


@dataclass(frozen=True)
class Function:
    """One function's part in one order, on average."""

    calls: float
    billed_ms: float  # of one call, as the REPORT line says
    cpu_ms: float  # of one call, of a whole core
    memory_mb: int
    log_bytes: float  # of one order


@dataclass(frozen=True)
class Usage:
    """What one order with one outcome used, on average."""

    functions: Mapping[str, Function]  # by `service.function`
    api_requests: float
    state_transitions: float
    saga_seconds: float
    sns_publishes: Mapping[str, float]  # by who publishes: saga, functions
    sqs_messages: Mapping[str, float]  # by queue, as `service.queue`
    dynamodb_write_units: float
    mails: float


@dataclass(frozen=True)
class Line:
    """One line of the bill: who causes it, at which of AWS's services, and what it costs."""

    owner: str
    service: str
    what: str
    quantity: float
    unit: str
    usd: float


def prices_from(text: str, overrides: Iterable[str] = ()) -> Prices:
    """Read a price table; `overrides` are of the form `lambda.gb_second=0.00001`."""
    table: dict[str, Any] = tomllib.loads(text)
    prices = {name: dict(section) for name, section in table.items() if isinstance(section, dict)}
    for override in overrides:
        name, equals, value = override.partition("=")
        section, _, price = name.partition(".")
        if price not in prices.get(section, {}):
            raise BadInput(f"{override}: there is no price {name!r}")
        try:
            prices[section][price] = float(value)
        except ValueError as error:
            raise BadInput(f"{override}: {value!r} is no number") from error
        if not equals or not 0 <= prices[section][price] < math.inf:
            raise BadInput(f"{override}: a price is a number from 0 on")
    return prices


def usage_from(document: Mapping[str, Any], outcome: str) -> Usage:
    """Read one outcome of bench/order_profile.json. Raises BadInput."""
    try:
        content = dict(document["outcomes"][outcome])
        functions = {name: Function(**each) for name, each in content.pop("functions").items()}
        return Usage(functions=functions, **content)
    except KeyError as error:
        raise BadInput(f"the profile has no {error} for outcome {outcome!r}") from error
    except TypeError as error:
        raise BadInput(f"outcome {outcome!r}: {error}") from error


def run_seconds(function: Function, prices: Prices) -> float:
    """Return how long one call takes on the share of a core that its memory buys.

    What a call waits for others, it waits here and there; what it computes takes longer on less.
    """
    share = min(1.0, function.memory_mb / prices["lambda"]["mb_per_vcpu"])
    waiting = max(0.0, function.billed_ms - function.cpu_ms)
    return float(waiting + function.cpu_ms / share) / 1000


def gb_seconds(function: Function, prices: Prices) -> float:
    """Return the GB-seconds of all of a function's calls for one order."""
    return function.calls * function.memory_mb / 1024 * run_seconds(function, prices)


def bill(usage: Usage, prices: Prices, *, orders: int = 1) -> list[Line]:
    """Return the lines of so many orders' bill."""
    price = {
        f"{section}.{name}": each for section in prices for name, each in prices[section].items()
    }
    # Owner, service, what, quantity of one order, unit, price of a unit.
    parts: list[tuple[str, str, str, float, str, float]] = []
    for name, each in usage.functions.items():
        owner, _, what = name.partition(".")
        gigabytes = each.log_bytes / 1e9
        parts += [
            (owner, "Lambda", what, gb_seconds(each, prices), "GB-s", price["lambda.gb_second"]),
            (owner, "Lambda", what, each.calls, "requests", price["lambda.request"]),
            (owner, "CloudWatch Logs", what, gigabytes, "GB", price["logs.gb"]),
        ]
    requests, transitions = usage.api_requests, usage.state_transitions
    parts += [
        ("orders", "API Gateway", "API", requests, "requests", price["api_gateway.request"]),
        (
            "orders",
            "Step Functions",
            "saga",
            transitions,
            "transitions",
            price["step_functions.transition"],
        ),
    ]
    for owner, publishes in usage.sns_publishes.items():
        parts.append((owner, "SNS", "publishes", publishes, "requests", price["sns.publish"]))
    for name, messages in usage.sqs_messages.items():
        owner, _, queue = name.partition(".")
        # Sent, received and deleted: batches save some of it only under load.
        parts.append((owner, "SQS", queue, 3 * messages, "requests", price["sqs.request"]))
    writes, mails = usage.dynamodb_write_units, usage.mails
    parts += [
        ("notifications", "DynamoDB", "writes", writes, "units", price["dynamodb.write_unit"]),
        ("notifications", "SES", "mails", mails, "mails", price["ses.mail"]),
    ]
    return [
        Line(owner, service, what, quantity * orders, unit, quantity * orders * usd)
        for owner, service, what, quantity, unit, usd in parts
        if quantity
    ]


def total(lines: Iterable[Line]) -> float:
    """Return the sum."""
    return sum(line.usd for line in lines)


def sums(lines: Sequence[Line], by: str) -> dict[str, float]:
    """Return what each `service` or `owner` costs, the dearest first."""
    found: dict[str, float] = {}
    for line in lines:
        found[getattr(line, by)] = found.get(getattr(line, by), 0) + line.usd
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def standard(usage: Usage, prices: Prices) -> float:
    """Return what the saga of one order costs as a Standard workflow."""
    return float(usage.state_transitions * prices["step_functions"]["transition"])


def express(usage: Usage, prices: Prices, *, memory_mb: int = 64) -> float:
    """Return what it would cost as an Express one: by request, time and memory in 64 MB chunks."""
    chunks = math.ceil(memory_mb / 64) * 64 / 1024
    # Rounded first: 0.3 s are three tenths, not 3.0000000000000004.
    seconds = math.ceil(round(usage.saga_seconds * 10, 6)) / 10
    asked = prices["step_functions"]
    return float(asked["express_request"] + chunks * seconds * asked["express_gb_second"])


def provisioned_month(memory_mb: int, environments: int, prices: Prices) -> float:
    """Return what so many environments cost that are kept ready for a month, idle."""
    gigabytes = memory_mb / 1024 * environments
    return float(gigabytes * MONTH_SECONDS * prices["lambda"]["provisioned_gb_second"])


def pings_month(memory_mb: int, ms: float, every_seconds: float, prices: Prices) -> float:
    """Return what the pings of one function cost in a month; the schedule itself is free."""
    one = memory_mb / 1024 * ms / 1000 * prices["lambda"]["gb_second"] + prices["lambda"]["request"]
    return float(MONTH_SECONDS / every_seconds * one)


@dataclass(frozen=True)
class Container:
    """An always-on container of Fargate that would do the functions' work."""

    vcpus: float
    gigabytes: float
    tasks: int = 1

    def hour(self, prices: Prices) -> float:
        """Return what it costs, busy or not."""
        fargate = prices["fargate"]
        one = self.vcpus * fargate["vcpu_hour"] + self.gigabytes * fargate["gb_hour"]
        return float(one * self.tasks)


@dataclass(frozen=True)
class Crossing:
    """Where the container becomes cheaper than Lambda."""

    orders_per_second: float
    utilisation: float  # of the container's CPU; above 1 it never does, it is full before


def lambda_compute(usage: Usage, prices: Prices) -> float:
    """Return what Lambda alone costs for one order: what a container would replace."""
    lines = bill(usage, prices)
    return total(line for line in lines if line.service == "Lambda")


def cpu_seconds(usage: Usage) -> float:
    """Return the CPU seconds of all functions for one order."""
    return sum(each.calls * each.cpu_ms for each in usage.functions.values()) / 1000


def crossing(usage: Usage, container: Container, prices: Prices) -> Crossing:
    """Return the load from which on the container is the cheaper of the two."""
    rate = container.hour(prices) / 3600 / lambda_compute(usage, prices)
    return Crossing(rate, utilisation(usage, container, rate))


def utilisation(usage: Usage, container: Container, orders_per_second: float) -> float:
    """Return which part of the container's CPU so many orders keep busy."""
    return orders_per_second * cpu_seconds(usage) / (container.vcpus * container.tasks)


def pure_cpu(prices: Prices) -> Usage:
    """Return an order that computes and never waits, on a function with exactly one vCPU."""
    memory = int(prices["lambda"]["mb_per_vcpu"])
    one = Function(calls=1, billed_ms=1000, cpu_ms=1000, memory_mb=memory, log_bytes=0)
    return Usage({"any.function": one}, 0, 0, 0, {}, {}, 0, 0)
