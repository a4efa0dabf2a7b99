-- A CONFIRMED order has one shipment, of exactly what was ordered.
SELECT
    o.id,
    format('reservation: %s, shipment: %s',
           coalesce(r.status || ' ' || r.lines, 'none'), coalesce(s.status, 'none')),
    format('reserved %s and shipped', o.units)
FROM known_orders o
LEFT JOIN reservations r ON r.order_id = o.id
LEFT JOIN shipments s ON s.order_id = o.id
WHERE o.status = 'CONFIRMED'
  AND (r.status, s.status, r.lines) IS DISTINCT FROM ('reserved', 'shipped', o.units)
