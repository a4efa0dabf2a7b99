-- What the gateway captured and did not give back is the sum of the confirmed orders, by currency.
-- (What open orders have at the gateway is on its way, one way or the other.)
WITH kept AS (
    SELECT l.currency, sum(l.amount) AS amount
    FROM sandbox_gateway.ledger l
    LEFT JOIN orders o ON o.id::text = l.key
    WHERE l.status = 'captured' AND (o.id IS NULL OR o.status NOT IN ('PLACED', 'PARKED'))
    GROUP BY l.currency
), due AS (
    SELECT currency, sum(total) AS amount FROM orders WHERE status = 'CONFIRMED' GROUP BY currency
)
SELECT currency, coalesce(kept.amount, 0)::text, coalesce(due.amount, 0)::text
FROM kept FULL JOIN due USING (currency)
WHERE coalesce(kept.amount, 0) <> coalesce(due.amount, 0)
