-- A PARKED order's saga runs: it waits for an operator, or has been resumed and is on its way.
-- (Parked after the sagas were listed: its saga may be younger than the list.)
SELECT
    o.id,
    format('PARKED at %s, and no saga runs', coalesce(p.step, 'a step that was resumed')),
    'a saga that waits or goes on, or a closed order'
FROM orders o
LEFT JOIN parked_orders p ON p.order_id = o.id
WHERE o.status = 'PARKED'
  AND coalesce(p.parked_at < :listed_at, true)
  AND NOT EXISTS (SELECT FROM running_sagas s WHERE s.order_id = o.id)
