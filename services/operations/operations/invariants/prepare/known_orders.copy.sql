-- What inventory's side is compared with: every order, and of the confirmed ones the units by sku
-- in the form in which a reservation holds them.
SELECT
    id,
    status,
    CASE
        WHEN status <> 'CONFIRMED' THEN NULL
        WHEN jsonb_array_length(lines) = 1
            THEN jsonb_build_array((lines -> 0) - 'unit_price')
        ELSE (
            SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', units) ORDER BY sku COLLATE "C")
            FROM (
                SELECT line ->> 'sku' AS sku, sum((line ->> 'quantity')::bigint) AS units
                FROM jsonb_array_elements(lines) line
                GROUP BY 1
            ) summed
        )
    END
FROM orders
