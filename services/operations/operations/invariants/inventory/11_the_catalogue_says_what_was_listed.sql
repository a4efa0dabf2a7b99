-- Customers see each product as inventory last listed it, or, for as long as a fact may be on its
-- way, as it listed it since.
WITH listed AS (
    SELECT
        subject AS sku,
        (body -> 'data' ->> 'version')::int AS version,
        body -> 'data' ->> 'name' AS name,
        (body -> 'data' ->> 'unit_price')::bigint AS unit_price,
        body -> 'data' ->> 'currency' AS currency,
        published_at
    FROM outbox
    WHERE type = 'product.listed.v1'
), due AS (
    SELECT DISTINCT ON (sku) sku, version, name, unit_price, currency
    FROM listed
    WHERE published_at < :known_at - make_interval(secs => :effects)
      -- As old as the queue, which lost what was told before it stood.
      AND published_at >= :records_since + make_interval(secs => :deploys)
    ORDER BY sku, version DESC
)
SELECT
    coalesce(d.sku, c.sku),
    coalesce(format('version %s: %s, %s %s', c.version, c.name, c.unit_price, c.currency), 'not listed'),
    coalesce(format('version %s: %s, %s %s', d.version, d.name, d.unit_price, d.currency),
             'as a fact says')
FROM due d
FULL JOIN seen_products c USING (sku)
-- A join and no NOT EXISTS, which beside an OR would read all listings for each product.
LEFT JOIN listed l
    ON (l.sku, l.version, l.name, l.unit_price, l.currency)
     = (c.sku, c.version, c.name, c.unit_price, c.currency)
WHERE c.version IS NULL
   OR c.version < d.version
   OR l.sku IS NULL
