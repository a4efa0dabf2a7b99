-- What the shelf says was shipped is the sum of the shipments that stand.
SELECT
    sku,
    format('%s shipped', coalesce(s.shipped::text, 'no such product,')),
    format('%s, as the shipments say', coalesce(h.shipped, 0))
FROM stock s FULL JOIN held h USING (sku)
WHERE coalesce(s.shipped, 0) <> coalesce(h.shipped, 0)
