-- What the standing reservations and shipments come to, by sku: one pass, for both invariants.
INSERT INTO held (sku, reserved, shipped)
SELECT
    line ->> 'sku',
    coalesce(sum((line ->> 'quantity')::bigint) FILTER (WHERE s.order_id IS NULL), 0),
    coalesce(sum((line ->> 'quantity')::bigint) FILTER (WHERE s.order_id IS NOT NULL), 0)
FROM reservations r
LEFT JOIN shipments s ON s.order_id = r.order_id AND s.status = 'shipped'
CROSS JOIN jsonb_array_elements(r.lines) line
WHERE r.status = 'reserved'
GROUP BY 1
