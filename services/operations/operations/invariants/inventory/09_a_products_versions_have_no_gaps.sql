-- A product's facts carry the versions 1 to that of the product, each once.
WITH told AS (
    SELECT
        subject COLLATE "C" AS sku,
        array_agg((body -> 'data' ->> 'version')::int ORDER BY (body -> 'data' ->> 'version')::int)
            AS versions
    FROM outbox
    WHERE destination = 'events'
    GROUP BY subject
)
SELECT
    sku,
    format('versions %s', coalesce(array_to_string(told.versions, ', '), 'none')),
    coalesce(format('versions 1 to %s, each once', s.version), 'no fact: no such product')
FROM stock s FULL JOIN told USING (sku)
WHERE s.version IS NULL
   OR coalesce(told.versions, '{}') <> ARRAY(SELECT generate_series(1, s.version))
