-- A CONFIRMED order was charged its total, once, and nothing of it was given back.
SELECT
    o.id,
    format(
        'gateway: %s, payment: %s',
        coalesce(concat_ws(' ', l.status, l.amount, l.currency), 'nothing'),
        coalesce(concat_ws(' ', p.status, p.amount, p.currency), 'nothing')
    ),
    format('gateway: captured %1$s %2$s, payment: charged %1$s %2$s', o.total, o.currency)
FROM orders o
LEFT JOIN sandbox_gateway.ledger l ON l.key = o.id::text
LEFT JOIN payments p ON p.order_id = o.id
WHERE o.status = 'CONFIRMED'
  AND (
      (l.status, l.amount, l.currency) IS DISTINCT FROM ('captured', o.total, o.currency)
      OR (p.status, p.amount, p.currency) IS DISTINCT FROM ('charged', o.total, o.currency)
  )
