"""Queue orders-catalogue: products that inventory lists."""

from typing import Any

from orders import bootstrap
from orders.domain import Product
from shared.batch import handle_each
from shared.contracts.inventory import ProductListed
from shared.envelope import read, read_data
from shared.errors import UnreadableMessage
from shared.observability import logger

log = logger()
catalogue = bootstrap.catalogue()


def handler(event: Any, context: Any) -> Any:
    """Store each product unless a newer version is known; report the failed messages alone."""
    return handle_each(event, context, store)


def listed_in(body: str) -> ProductListed:
    """Read a message; its type is looked at too, a filter policy can be wrong."""
    envelope = read(body)
    if envelope.type != ProductListed.TYPE:
        raise UnreadableMessage(f"{envelope.type}: not for this queue")
    return read_data(envelope, ProductListed)


def store(record: Any) -> None:
    """Store one message's product; what it raises fails this message alone."""
    try:
        listed = listed_in(record.body)
        stored = catalogue.upsert(
            Product(listed.sku, listed.name, listed.unit_price, listed.currency, listed.version)
        )
    except Exception:
        log.exception("product_not_stored", sqs_message_id=record.message_id)
        raise
    log.info(
        "product_stored" if stored else "product_stale", sku=listed.sku, version=listed.version
    )
