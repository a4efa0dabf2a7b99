-- Every order was told of once when it was placed, and no fact tells of an order that is not there.
SELECT
    coalesce(o.id::text, t.subject),
    format('%s times order.placed.v1', coalesce(t.placed, 0)),
    CASE WHEN o.id IS NULL THEN 'no fact: no such order' ELSE 'once' END
FROM orders o
FULL JOIN told t ON t.subject = o.id::text
WHERE (o.id IS NULL OR t.placed IS DISTINCT FROM 1)
  -- Facts of an order that closed before that are no longer kept.
  AND (o.closed_at IS NULL OR o.closed_at > now() - make_interval(secs => :facts))
