-- Every closed order was told of once, by the fact that agrees with its status; an open one never.
SELECT
    o.id,
    format(
        'confirmed %s, rejected %s, cancelled %s times',
        coalesce(t.confirmed, 0), coalesce(t.rejected, 0), coalesce(t.cancelled, 0)
    ),
    CASE WHEN o.status IN ('PLACED', 'PARKED') THEN 'no end' ELSE lower(o.status) || ' once' END
FROM orders o
LEFT JOIN told t ON t.subject = o.id::text
WHERE (coalesce(t.confirmed, 0), coalesce(t.rejected, 0), coalesce(t.cancelled, 0)) <> (
    (o.status = 'CONFIRMED')::int, (o.status = 'REJECTED')::int, (o.status = 'CANCELLED')::int
)
  -- Facts of an order that closed before that are no longer kept.
  AND (o.closed_at IS NULL OR o.closed_at > now() - make_interval(secs => :facts))
