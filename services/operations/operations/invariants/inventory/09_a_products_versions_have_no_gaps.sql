-- A product's facts carry the versions up to that of the product, each once.
-- (From 1 on, unless the shop is older than what is kept of its facts.)
WITH told AS (
    SELECT
        subject COLLATE "C" AS sku,
        array_agg((body -> 'data' ->> 'version')::int ORDER BY (body -> 'data' ->> 'version')::int)
            AS versions
    FROM outbox
    WHERE destination = 'events'
    GROUP BY subject
), kept AS (
    -- What goes are the facts before the newest listing; that one stays, however old.
    SELECT (SELECT min(received_at) FROM deliveries) < now() - make_interval(secs => :facts) AS in_part
)
SELECT
    sku,
    format('versions %s', coalesce(array_to_string(told.versions, ', '), 'none')),
    coalesce(format('versions 1 to %s, each once', s.version), 'no fact: no such product')
FROM stock s FULL JOIN told USING (sku) CROSS JOIN kept
WHERE s.version IS NULL
   OR coalesce(told.versions, '{}') <> ARRAY(
       SELECT generate_series(CASE WHEN kept.in_part THEN coalesce(told.versions[1], 1) ELSE 1 END, s.version)
   )
