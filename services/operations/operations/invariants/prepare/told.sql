-- What orders told about each subject: one pass over the outbox, for the three invariants of facts.
INSERT INTO told (subject, facts, versions, placed, confirmed, rejected, cancelled)
SELECT
    subject,
    count(*),
    -- A bit for each version, the highest bit for what no order reaches: no sort, unlike DISTINCT.
    bit_or(1::bigint << least(greatest((body -> 'data' ->> 'version')::int, 1), 62) - 1),
    count(*) FILTER (WHERE type = 'order.placed.v1'),
    count(*) FILTER (WHERE type = 'order.confirmed.v1'),
    count(*) FILTER (WHERE type = 'order.rejected.v1'),
    count(*) FILTER (WHERE type = 'order.cancelled.v1')
FROM outbox
WHERE destination = 'events'
GROUP BY subject
