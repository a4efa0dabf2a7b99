"""The catalogue: a read model of the products that inventory lists."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from orders.adapters.tables import catalogue
from orders.domain import Product

_COLUMNS = (
    catalogue.c.sku,
    catalogue.c.name,
    catalogue.c.unit_price,
    catalogue.c.currency,
    catalogue.c.version,
)


class SqlCatalogue:
    """Products in Postgres, the newest version of each."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def find(self, skus: Sequence[str]) -> Mapping[str, Product]:
        """Return those of `skus` that exist, by sku."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(*_COLUMNS).where(catalogue.c.sku == sa.any_(sa.bindparam("skus"))),
                {"skus": list(skus)},
            )
            return {row.sku: Product(*row) for row in rows}

    def page(self, *, after: str, limit: int) -> Sequence[Product]:
        """Return products in sku order, after sku `after`."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(*_COLUMNS)
                .where(catalogue.c.sku > after)
                .order_by(catalogue.c.sku)
                .limit(limit)
            )
            return [Product(*row) for row in rows]

    def upsert(self, product: Product) -> bool:
        """Store the product unless a newer version is known; say whether it was stored."""
        row = insert(catalogue).values(
            sku=product.sku,
            name=product.name,
            unit_price=product.unit_price,
            currency=product.currency,
            version=product.version,
        )
        statement = row.on_conflict_do_update(
            index_elements=["sku"],
            set_={
                name: row.excluded[name] for name in ("name", "unit_price", "currency", "version")
            },
            where=catalogue.c.version < row.excluded.version,
        ).returning(catalogue.c.sku)
        with self._engine.connect() as connection:
            return connection.scalar(statement) is not None
