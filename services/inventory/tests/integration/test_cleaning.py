"""Old facts about products go; the newest listing stays, and whatever follows it."""

from uuid import uuid4

import sqlalchemy as sa

from inventory.adapters.cleaning import SqlAttic

OLD, YOUNG = 91, 89
_FACT = sa.text(
    "INSERT INTO outbox (id, destination, type, subject, body, created_at, published_at)"
    " SELECT gen_random_uuid(), 'events', :type, :sku,"
    " jsonb_build_object('subject', CAST(:sku AS text),"
    " 'data', jsonb_build_object('version', CAST(:version AS int))),"
    " at, CASE WHEN :published THEN at END"
    " FROM (SELECT now() - make_interval(days => :days) AS at) aged"
)


def tell(postgres: sa.Engine, sku: str, *facts: tuple[str, int], published: bool = True) -> None:
    with postgres.begin() as connection:
        for version, (type_, days) in enumerate(facts, 1):
            connection.execute(
                _FACT,
                {
                    "type": type_,
                    "sku": sku,
                    "version": version,
                    "days": days,
                    "published": published,
                },
            )


def left(postgres: sa.Engine, sku: str) -> list[int]:
    with postgres.connect() as connection:
        query = sa.text(
            "SELECT (body -> 'data' ->> 'version')::int FROM outbox"
            " WHERE subject = :sku ORDER BY seq"
        )
        return list(connection.execute(query, {"sku": sku}).scalars())


def clean(postgres: sa.Engine) -> int:
    return SqlAttic(postgres, outbox_days=90).empty_outbox(seconds=60)


def test_facts_before_the_newest_listing_go_when_they_are_old(postgres: sa.Engine) -> None:
    listed, low = "product.listed.v1", "stock.low.v1"
    # An outbox is in the order of time; what other tests have left in this one is young.
    with postgres.begin() as connection:
        connection.execute(sa.text("DELETE FROM outbox"))
    often, once, lately, waiting = (f"sku-{uuid4().hex}" for _ in range(4))
    tell(postgres, often, (listed, OLD), (low, OLD), (listed, OLD), (low, OLD))
    tell(postgres, once, (listed, OLD))
    tell(postgres, waiting, (listed, OLD), (listed, OLD), published=False)
    tell(postgres, lately, (listed, OLD), (listed, YOUNG), (listed, YOUNG))
    clean(postgres)
    assert left(postgres, often) == [3, 4]
    assert left(postgres, once) == [1]
    assert left(postgres, waiting) == [1, 2]
    assert left(postgres, lately) == [2, 3]
    assert clean(postgres) == 0
