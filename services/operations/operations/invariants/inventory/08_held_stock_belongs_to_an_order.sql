-- Nothing is reserved and nothing was shipped for an order that does not exist.
-- (A minute for the clocks of two servers: an order stands before its reservation.)
SELECT r.order_id, format('reserved %s', r.lines), 'nothing: no such order'
FROM reservations r
WHERE r.status = 'reserved'
  AND r.created_at < :known_at - interval '1 minute'
  AND NOT EXISTS (SELECT FROM known_orders o WHERE o.id = r.order_id)
UNION ALL
SELECT s.order_id, format('shipped, %s', s.tracking), 'nothing: no such order'
FROM shipments s
WHERE s.status = 'shipped'
  AND s.created_at < :known_at - interval '1 minute'
  AND NOT EXISTS (SELECT FROM known_orders o WHERE o.id = s.order_id)
  AND NOT EXISTS (
      SELECT FROM reservations r WHERE r.order_id = s.order_id AND r.status = 'reserved'
  )
