-- No money was taken, and no payment noted, for an order that does not exist.
SELECT key, format('gateway: %s %s %s', status, amount, currency), 'nothing: no such order'
FROM sandbox_gateway.ledger l
WHERE status = 'captured' AND NOT EXISTS (SELECT FROM orders o WHERE o.id::text = l.key)
UNION ALL
SELECT order_id::text, format('payment: %s %s %s', status, amount, currency), 'nothing: no such order'
FROM payments p
WHERE status = 'charged' AND NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)
