"""What inventory publishes: facts about products and stock."""

from typing import ClassVar

import msgspec


class ProductListed(msgspec.Struct, frozen=True):
    """A product exists under this name and price (minor units); an upsert by `version`."""

    TYPE: ClassVar[str] = "product.listed.v1"
    sku: str
    version: int
    name: str
    unit_price: int
    currency: str


class StockLow(msgspec.Struct, frozen=True):
    """A reservation took the available stock of a sku down to the threshold or below."""

    TYPE: ClassVar[str] = "stock.low.v1"
    sku: str
    version: int
    available: int
    threshold: int


FACTS = (ProductListed, StockLow)
