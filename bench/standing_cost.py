"""What a stage costs when nobody orders: counted in its packaged templates, times a price list.

    make standing-cost STAGE=dev [SET="aurora.acu_hour=0.156"]

What runs by the clock (relays, audits, pings) is paid by use, and is cents a month.
"""

import argparse
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.artifacts.packages import STACKS, Package, package

PRICES = Path(__file__).with_name("standing_prices.toml")


@dataclass(frozen=True)
class Standing:
    """One line of the bill."""

    what: str
    count: float
    month: float  # dollars


def prices(changes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the price list, with `section.name=number` put over it."""
    read = tomllib.loads(PRICES.read_text())
    for change in changes:
        name, _, value = change.partition("=")
        section, _, key = name.partition(".")
        if key not in read.get(section, {}):
            raise SystemExit(f"standing_cost: no price is called {name}")
        read[section][key] = float(value)
    return read


def bill(stage: str, asked: dict[str, Any]) -> list[Standing]:
    """Return what the stage's stacks cost a month, dearest first."""
    counts: defaultdict[str, float] = defaultdict(float)
    dollars: defaultdict[str, float] = defaultdict(float)
    for stack in STACKS:
        for what, count, month in _lines(package(stack, stage=stage), asked):
            counts[what] += count
            dollars[what] += month
    lines = [Standing(what, counts[what], dollars[what]) for what in counts]
    return sorted(lines, key=lambda line: -line.month)


def _lines(packed: Package, asked: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    hours = asked["hours"]
    for cluster in packed.resources("AWS::RDS::DBCluster").values():
        least = cluster["ServerlessV2ScalingConfiguration"]["MinCapacity"]
        instances = len(packed.resources("AWS::RDS::DBInstance"))
        acus = least * instances
        yield "ACUs of the databases, at rest", acus, acus * hours * asked["aurora"]["acu_hour"]
        yield "secrets of their master users", 1, asked["secrets"]["secret_month"]
        proxied = max(acus, asked["rds_proxy"]["least_acus"])
        yield "database proxies", 1, proxied * hours * asked["rds_proxy"]["acu_hour"]
    for endpoint in packed.resources("AWS::EC2::VPCEndpoint").values():
        if endpoint["VpcEndpointType"] == "Interface":
            zones = len(endpoint["SubnetIds"])
            yield (
                "VPC endpoints, by zone",
                zones,
                zones * hours * asked["vpc_endpoint"]["zone_hour"],
            )
    functions = packed.resources("AWS::Lambda::Function")
    for alias in packed.resources("AWS::Lambda::Alias").values():
        ready = alias["ProvisionedConcurrencyConfig"]["ProvisionedConcurrentExecutions"]
        size = functions[alias["FunctionName"]["Ref"]]["MemorySize"] / 1024
        price = asked["lambda"]["provisioned_gb_second"] * 3600 * hours
        yield "function environments kept ready", ready, ready * size * price
    for _ in packed.resources("AWS::KMS::Key"):
        yield "keys", 1, asked["kms"]["key_month"]
    for alarm in packed.resources("AWS::CloudWatch::Alarm").values():
        metrics = sum("MetricStat" in each for each in alarm.get("Metrics", [])) or 1
        yield "alarms, by metric", metrics, metrics * asked["cloudwatch"]["alarm_metric_month"]
    for _ in packed.resources("AWS::CloudWatch::Dashboard"):
        yield "dashboards", 1, asked["cloudwatch"]["dashboard_month"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill of a stage."""
    parser = argparse.ArgumentParser(prog="standing_cost", description=__doc__)
    parser.add_argument("--stage", required=True, choices=("dev", "prod"))
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args(arguments)
    asked = prices(options.set)
    table = Table(
        title=f"Stage {options.stage}, at rest: dollars a month (prices: bench/{PRICES.name})"
    )
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("$", justify="right")
    lines = bill(options.stage, asked)
    for line in lines:
        table.add_row(line.what, f"{line.count:g}", f"{line.month:.2f}")
    table.add_row("together", "", f"{sum(line.month for line in lines):.2f}")
    Console(file=sys.stdout).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
