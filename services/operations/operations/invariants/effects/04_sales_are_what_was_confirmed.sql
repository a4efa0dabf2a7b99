-- The sales figures of each day and sku are the sum of the confirmed orders' facts, each once.
-- (Between what must have been counted by the time of the scan and what may have been.)
WITH fact AS (
    SELECT
        f.seq,
        ((f.body ->> 'time')::timestamptz AT TIME ZONE 'UTC')::date AS day,
        line ->> 'sku' AS sku,
        f.body -> 'data' ->> 'currency' AS currency,
        coalesce(
            f.published_at >= :sales_since + make_interval(secs => :deploys)
            AND f.published_at < :scanned_at - make_interval(secs => :effects),
            false
        ) AS certain,
        sum((line ->> 'quantity')::bigint) AS units,
        sum((line ->> 'quantity')::bigint * (line ->> 'unit_price')::bigint) AS revenue
    FROM outbox f
    CROSS JOIN jsonb_array_elements(f.body -> 'data' -> 'lines') line
    WHERE f.type = 'order.confirmed.v1'
      AND coalesce(f.published_at, now()) >= :sales_since - make_interval(secs => :deploys)
    GROUP BY 1, 2, 3, 4, 5
), due AS (
    SELECT
        day, sku, measure,
        coalesce(sum(amount) FILTER (WHERE certain), 0) AS least,
        sum(amount) AS most
    FROM fact
    CROSS JOIN LATERAL (
        VALUES ('units', units), ('orders', 1), ('revenue_' || currency, revenue)
    ) measured (measure, amount)
    GROUP BY 1, 2, 3
)
SELECT
    day || ' ' || sku,
    format('%s %s', measure, coalesce(s.amount, 0)),
    CASE WHEN least = most OR due.day IS NULL
        THEN format('%s %s', measure, coalesce(most, 0))
        ELSE format('%s %s to %s', measure, least, most)
    END
FROM due FULL JOIN sold s USING (day, sku, measure)
WHERE coalesce(s.amount, 0) NOT BETWEEN coalesce(least, 0) AND coalesce(most, 0)
  -- Of a day before that, facts are no longer kept; a day later the facts of the whole day are.
  AND day > ((now() - make_interval(secs => :facts)) AT TIME ZONE 'UTC')::date
