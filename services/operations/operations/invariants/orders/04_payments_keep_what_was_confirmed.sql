-- What our own payments charged and did not refund is that sum too, by currency.
WITH kept AS (
    SELECT p.currency, sum(p.amount) AS amount
    FROM payments p
    LEFT JOIN orders o ON o.id = p.order_id
    WHERE p.status = 'charged' AND (o.id IS NULL OR o.status NOT IN ('PLACED', 'PARKED'))
    GROUP BY p.currency
), due AS (
    SELECT currency, sum(total) AS amount FROM orders WHERE status = 'CONFIRMED' GROUP BY currency
)
SELECT currency, coalesce(kept.amount, 0)::text, coalesce(due.amount, 0)::text
FROM kept FULL JOIN due USING (currency)
WHERE coalesce(kept.amount, 0) <> coalesce(due.amount, 0)
