"""Queue orders-catalogue: products that inventory lists."""

from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from orders import bootstrap
from orders.domain import Product
from shared.contracts.inventory import ProductListed
from shared.envelope import read, read_data
from shared.observability import logger

log = logger()
catalogue = bootstrap.catalogue()
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def handler(event: Any, context: Any) -> Any:
    """Store each product unless a newer version is known; report the failed messages alone."""
    return process_partial_response(
        event, record_handler=store, processor=processor, context=context
    )


def store(record: Any) -> None:
    """Store one message's product."""
    listed = read_data(read(record.body), ProductListed)
    stored = catalogue.upsert(
        Product(listed.sku, listed.name, listed.unit_price, listed.currency, listed.version)
    )
    log.info(
        "product_stored" if stored else "product_stale", sku=listed.sku, version=listed.version
    )
