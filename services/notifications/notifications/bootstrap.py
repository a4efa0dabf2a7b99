"""The only wiring: what each handler needs, from its settings."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from notifications import use_cases
from notifications.adapters import mail, report, sales
from notifications.adapters.days import DynamoDays
from notifications.adapters.images import Sources
from notifications.adapters.once import Once, Result, TransactionalStore
from notifications.domain import Day
from notifications.requests import ReportSales
from shared.clients import client
from shared.config import setting

REPORTED_DAYS = 30
"""The day, and those before it that it is seen beside."""

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
    """Return `(fact id, fact, time) -> result`: adds the fact to the figures, once."""
    writes = partial(sales.sales_writes, setting("SALES_TABLE"), setting("OUTCOMES_TABLE"))
    store = TransactionalStore(setting("IDEMPOTENCY_TABLE"), aws("dynamodb"), writes)

    def work(fact: use_cases.CountedFact, at: datetime) -> Result:
        return sales.result_of(use_cases.count_sales(fact, at))

    return Once(work, name="countSales", store=store)


def count_day(aws: Aws = client) -> Callable[[], Callable[[Mapping[str, Any]], str]]:
    """Return `() -> record of a stream -> what came of it`; the first call begins a batch."""
    dynamodb = aws("dynamodb")
    days = DynamoDays(dynamodb, setting("DAYS_TABLE"))
    sources = _sources(dynamodb)

    def begin() -> Callable[[Mapping[str, Any]], str]:
        # Once for the batch: all of it was written before.
        generations = days.generations()

        def add(record: Mapping[str, Any]) -> str:
            share = sources.share_of_record(record)
            if share is None:
                return "removed"
            return use_cases.count_day(share, generations=generations, days=days, today=_today())

        return add

    return begin


def get_stats(aws: Aws = client) -> Callable[[date | None], Day | None]:
    """Return `day, or None for today -> the shop's day`; None for one that is not kept."""
    days = DynamoDays(aws("dynamodb"), setting("DAYS_TABLE"))

    def get(day: date | None) -> Day | None:
        today = _today()
        return use_cases.get_stats(day or today, days=days, today=today)

    return get


def rebuild_stats(
    aws: Aws = client,
) -> Callable[[use_cases.Rebuild | None, Callable[[], bool]], use_cases.Rebuild]:
    """Return `(how far it came, whether to stop) -> how far it came`."""
    dynamodb = aws("dynamodb")
    days = DynamoDays(dynamodb, setting("DAYS_TABLE"))
    sources = _sources(dynamodb)

    def rebuild(begun: use_cases.Rebuild | None, hurry: Callable[[], bool]) -> use_cases.Rebuild:
        return use_cases.rebuild_stats(
            begun, tables=sources, days=days, today=_today(), hurry=hurry
        )

    return rebuild


def report_sales(aws: Aws = client) -> Callable[[ReportSales, Any], Result]:
    """Return `(what to report, Lambda's context) -> result`: mails a day once."""
    dynamodb = aws("dynamodb")
    days = DynamoDays(dynamodb, setting("DAYS_TABLE"))
    shelf = report.S3Shelf(aws("s3"), setting("REPORTS_BUCKET"))
    post = mail.SesPost(aws("ses"), setting("SENDER_EMAIL"))
    operator = setting("OPERATOR_EMAIL")
    store = TransactionalStore(setting("IDEMPOTENCY_TABLE"), dynamodb, lambda _: [])

    def write(day: date) -> tuple[Day, list[str]]:
        month = days.days([day - timedelta(days=ago) for ago in range(REPORTED_DAYS)[::-1]])
        table, chart = report.files_of(day)
        files = {
            table: ("text/csv; charset=utf-8", report.table(month)),
            chart: ("image/svg+xml", report.chart(month)),
        }
        return month[-1], shelf.put(files)

    def work(day: date) -> Result:
        # The mail comes last: it names files that are there.
        reported, places = write(day)
        post.send(report.mail(reported, operator, places))
        return {"outcome": "mailed", "day": day.isoformat(), "files": places}

    once = Once(work, name="reportSales", store=store)

    def run(wanted: ReportSales, context: Any) -> Result:
        day = use_cases.day_to_report(wanted.day, _today())
        if wanted.again:
            return {"outcome": "written", "day": day.isoformat(), "files": write(day)[1]}
        once.invoked(context)
        return once(day.isoformat(), day)

    return run


def _sources(dynamodb: Any) -> Sources:
    return Sources(
        dynamodb,
        sales=setting("SALES_TABLE"),
        outcomes=setting("OUTCOMES_TABLE"),
        deliveries=setting("DELIVERIES_TABLE"),
    )


def _today() -> date:
    return datetime.now(UTC).date()
