-- For any other closed order nothing is reserved and nothing was shipped.
SELECT
    o.id,
    format('%s; reservation: %s, shipment: %s',
           o.status, coalesce(r.status || ' ' || r.lines, 'none'), coalesce(s.status, 'none')),
    'nothing reserved, nothing shipped'
FROM known_orders o
LEFT JOIN reservations r ON r.order_id = o.id
LEFT JOIN shipments s ON s.order_id = o.id
WHERE o.status IN ('REJECTED', 'CANCELLED')
  AND (r.status = 'reserved' OR s.status = 'shipped')
