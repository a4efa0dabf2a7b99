"""Placed → CONFIRMED on the cloud that runs, one order at a time, as a polling customer sees it.

    make up deploy bench-flow [ORDERS=30]

Timed from the request to the first answer that says CONFIRMED, the poll of 50 ms included.
"""

import statistics
import sys
import time

from tests.support.cloud import Cloud
from tests.support.shop import Shop

_POLL_SECONDS = 0.05


def main(orders: int) -> None:
    """Print the median, the 95th percentile and the slowest, in seconds."""
    cloud = Cloud.from_environment()
    if fault := cloud.fault():
        sys.exit(fault)
    shop = Shop(cloud)
    sku = shop.stock(orders + 3)
    for _ in range(3):  # the cold starts, which are another question
        shop.buy({sku: 1})
    seconds = sorted(_one(shop, sku) for _ in range(orders))
    shop.close()
    print(
        f"placed → CONFIRMED, {orders} orders one by one: "
        f"p50 {statistics.median(seconds):.2f} s, "
        f"p95 {statistics.quantiles(seconds, n=20)[-1]:.2f} s, slowest {seconds[-1]:.2f} s"
    )


def _one(shop: Shop, sku: str) -> float:
    start = time.perf_counter()
    order_id = shop.place({sku: 1})
    while (status := shop.order(order_id)["status"]) == "PLACED":
        time.sleep(_POLL_SECONDS)
    if status != "CONFIRMED":
        sys.exit(f"order {order_id} ended {status}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
