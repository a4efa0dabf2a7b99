"""GET /products?limit=&cursor=."""

from typing import Any

from orders import answers, bootstrap, http
from orders.requests import list_products_request
from shared.observability import logger
from shared.warm_up import answers_pings

log = logger()
catalogue = bootstrap.catalogue()


@answers_pings
@http.endpoint(log)
def handler(event: Any) -> http.Answer:
    """Answer 200 with a page of products, in sku order."""
    wanted = list_products_request(http.query(event))
    found = catalogue.page(after=wanted.after, limit=wanted.limit + 1)
    page = found[: wanted.limit]
    products = tuple(
        answers.Product(product.sku, product.name, product.unit_price, product.currency)
        for product in page
    )
    more = len(found) > wanted.limit
    return http.json(200, answers.ProductsPage(products, page[-1].sku if more else None))
