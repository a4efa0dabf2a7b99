"""The only wiring: what each handler needs, from its settings."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from notifications import use_cases
from notifications.adapters import mail, sales
from notifications.adapters.once import Once, Result, TransactionalStore
from shared.clients import client
from shared.config import setting
from shared.contracts.orders import OrderConfirmed

# Makes a boto3 client of the service that it is given the name of.
Aws = Callable[[str], Any]


def send_email(aws: Aws = client) -> Once:
    """Return `(fact id, fact) -> result`: sends the mail, once."""
    dynamodb = aws("dynamodb")
    table = setting("IDEMPOTENCY_TABLE")
    operator = setting("OPERATOR_EMAIL")
    post = mail.SesPost(aws("ses"), setting("SENDER_EMAIL"))
    progress = mail.DynamoProgress(dynamodb, table)

    def work(fact: use_cases.MailedFact) -> Result:
        return mail.result_of(
            use_cases.send_email(fact, operator=operator, post=post, progress=progress)
        )

    writes = partial(mail.delivery_writes, setting("DELIVERIES_TABLE"))
    return Once(work, name="sendEmail", store=TransactionalStore(table, dynamodb, writes))


def count_sales(aws: Aws = client) -> Once:
    """Return `(fact id, fact, time) -> result`: adds the order to the figures, once."""
    writes = partial(sales.sales_writes, setting("SALES_TABLE"))
    store = TransactionalStore(setting("IDEMPOTENCY_TABLE"), aws("dynamodb"), writes)

    def work(fact: OrderConfirmed, at: datetime) -> Result:
        return sales.result_of(use_cases.count_sales(fact, at))

    return Once(work, name="countSales", store=store)
