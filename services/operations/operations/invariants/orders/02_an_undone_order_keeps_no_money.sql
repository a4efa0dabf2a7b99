-- Of any other closed order no money is kept, and none is on its way.
SELECT
    o.id,
    format(
        '%s; gateway: %s, payment: %s',
        o.status,
        coalesce(concat_ws(' ', l.status, l.amount, l.currency), 'nothing'),
        coalesce(concat_ws(' ', p.status, p.amount, p.currency), 'nothing')
    ),
    'gateway: nothing captured, payment: none, declined, refunded or void'
FROM orders o
LEFT JOIN sandbox_gateway.ledger l ON l.key = o.id::text
LEFT JOIN payments p ON p.order_id = o.id
WHERE o.status IN ('REJECTED', 'CANCELLED')
  AND (l.status = 'captured' OR p.status IN ('pending', 'charged', 'refunding'))
