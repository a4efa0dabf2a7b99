"""What 1000 orders cost on AWS, by line, and where a container would be cheaper.

    make cost [ORDERS=1000] [PRICES=my.toml] [SET="lambda.request=0 fargate.vcpu_hour=0.03238"]

Needs no cloud: what one order uses was measured by `make bench-order-profile`, and stands in
bench/order_profile.json with the machine and the day.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import cost_model as model
from bench import report as reports

ROOT = Path(__file__).parents[1]
PRICES = ROOT / "bench/prices.toml"
PROFILE = ROOT / "bench/order_profile.json"

OUTCOMES = ("confirmed", "refused", "compensated")
CONTAINER = model.Container(vcpus=1, gigabytes=2)
CLAIM = (0.4, 0.6)
"""The rule of thumb: above 40 to 60 % of sustained CPU a container is the cheaper one."""
PING_MS, PING_SECONDS, MEMORY_MB = 2, 300, 1024


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="What orders cost on AWS.")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--prices", type=Path, default=PRICES)
    parser.add_argument("--profile", type=Path, default=PROFILE)
    parser.add_argument("--set", nargs="*", default=[], metavar="PRICE=USD")
    asked = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    try:
        prices = model.prices_from(asked.prices.read_text(), asked.set)
        profile = json.loads(asked.profile.read_text())
        usages = {outcome: model.usage_from(profile, outcome) for outcome in OUTCOMES}
    except (OSError, ValueError, model.BadInput) as error:
        console.print(f"{error}", style="bold red", markup=False)
        return 2
    table = tomllib.loads(asked.prices.read_text())
    console.print(
        f"Prices: {table.get('region')}, as of {table.get('as_of')}"
        f"{', with ' + ', '.join(asked.set) if asked.set else ''}\n"
        f"Profile: {profile['command']}, {profile['measured_at']}, {profile['machine']}\n",
        markup=False,
    )
    result = report(console, usages, prices, asked.orders)
    reports.write("cost", result)
    if not asked.set and asked.prices == PRICES:  # with others it is not the documents' plot
        draw(usages["confirmed"], prices)
    return 0


def report(
    console: Console, usages: Mapping[str, model.Usage], prices: model.Prices, orders: int
) -> dict[str, Any]:
    """Print every table; return what they show."""
    bills = {outcome: model.bill(usage, prices, orders=orders) for outcome, usage in usages.items()}
    for by in ("service", "owner"):
        console.print(_shares(bills, by, orders))
    console.print(_lines(bills, orders))
    confirmed = usages["confirmed"]
    sagas = {
        outcome: {
            "standard": model.standard(usage, prices) * orders,
            "express": model.express(usage, prices) * orders,
        }
        for outcome, usage in usages.items()
    }
    for outcome, saga in sagas.items():
        console.print(
            f"Saga, {orders} {outcome}: Standard ${saga['standard']:.4f}, "
            f"Express would be ${saga['express']:.4f} (ADR 16 says why it is not)"
        )
    provisioned = model.provisioned_month(MEMORY_MB, 1, prices)
    pings = model.pings_month(MEMORY_MB, PING_MS, PING_SECONDS, prices)
    console.print(
        f"\nOne environment of {MEMORY_MB} MB kept ready: ${provisioned:.2f} a month; "
        f"pinged every {PING_SECONDS // 60} minutes: ${pings:.4f} a month"
    )
    crossings = {
        "this system's confirmed order": model.crossing(confirmed, CONTAINER, prices),
        "code that only computes": model.crossing(model.pure_cpu(prices), CONTAINER, prices),
    }
    month = CONTAINER.hour(prices) * model.MONTH_SECONDS / 3600
    console.print(
        f"\nA container of {CONTAINER.vcpus:g} vCPU and {CONTAINER.gigabytes:g} GB, always on, "
        f"costs ${month:.2f} a month: cheaper than Lambda"
    )
    for name, each in crossings.items():
        console.print(
            f"  for {name}: from {each.utilisation:.0%} of its CPU on"
            f" ({each.orders_per_second:.2f} a second)"
        )
    return {
        "orders": orders,
        "usd": {outcome: model.total(lines) for outcome, lines in bills.items()},
        "by_service": {outcome: model.sums(lines, "service") for outcome, lines in bills.items()},
        "by_owner": {outcome: model.sums(lines, "owner") for outcome, lines in bills.items()},
        "sagas": sagas,
        "provisioned_month": provisioned,
        "pings_month": pings,
        "crossings": {name: vars(each) for name, each in crossings.items()},
    }


def _shares(bills: Mapping[str, Sequence[model.Line]], by: str, orders: int) -> Table:
    sums = {outcome: model.sums(lines, by) for outcome, lines in bills.items()}
    table = Table(title=f"{orders} orders, by {by}, US dollars", title_justify="left")
    table.add_column(by)
    for outcome in bills:
        table.add_column(outcome, justify="right")
        table.add_column("share", justify="right")
    for name in dict.fromkeys(name for each in sums.values() for name in each):
        row = [name]
        for outcome in bills:
            usd = sums[outcome].get(name, 0.0)
            row += [f"{usd:.4f}", f"{usd / sum(sums[outcome].values()):.1%}"]
        table.add_row(*row)
    totals = [sum(each.values()) for each in sums.values()]
    table.add_section()
    table.add_row("all", *(cell for each in totals for cell in (f"{each:.4f}", "")))
    return table


def _lines(bills: Mapping[str, Sequence[model.Line]], orders: int) -> Table:
    table = Table(title=f"{orders} orders, line by line, US dollars", title_justify="left")
    for heading in ("owner", "service", "what", "unit"):
        table.add_column(heading)
    for outcome in bills:
        table.add_column(outcome, justify="right")
    found = {
        outcome: {(each.owner, each.service, each.what, each.unit): each.usd for each in lines}
        for outcome, lines in bills.items()
    }
    every = dict.fromkeys(key for each in found.values() for key in each)
    for key in sorted(every, key=lambda key: -max(each.get(key, 0) for each in found.values())):
        table.add_row(*key, *(f"{each[key]:.5f}" if key in each else "" for each in found.values()))
    return table


def draw(usage: model.Usage, prices: model.Prices) -> None:
    """Draw what Lambda and the container cost a month, over how busy the container would be."""
    figure, plot = reports.axes(8, 4.5)
    month = CONTAINER.hour(prices) * model.MONTH_SECONDS / 3600
    claim = [100 * each for each in CLAIM]
    plot.axvspan(*claim, color=reports.BESIDE, alpha=0.6, label="“40 to 60 % CPU”")
    plot.axhline(month, color="black", label="container: 1 vCPU, 2 GB, always on")
    cases = (
        ("Lambda: this system's confirmed order", usage, reports.OURS),
        ("Lambda: code that only computes", model.pure_cpu(prices), reports.GOAL),
    )
    for name, each, colour in cases:
        at = model.crossing(each, CONTAINER, prices).utilisation * 100
        plot.plot([0, 100], [0, month * 100 / at], color=colour, label=name)
        plot.plot([at], [month], "o", color=colour)
        plot.annotate(
            f"{at:.0f} %", (at, month), (6, -14), textcoords="offset points", color=colour
        )
    plot.set(
        xlabel="how busy the container's CPU would be, %",
        ylabel="US dollars a month",
        xlim=(0, 100),
        ylim=(0, 4 * month),
    )
    plot.legend(loc="upper left", frameon=False)
    reports.draw("lambda-or-container", figure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
