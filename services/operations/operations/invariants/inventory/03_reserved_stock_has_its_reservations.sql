-- What the shelf says is reserved is the sum of the reservations that stand and were not shipped.
SELECT
    sku,
    format('%s reserved', coalesce(s.reserved::text, 'no such product,')),
    format('%s, as the reservations say', coalesce(h.reserved, 0))
FROM stock s FULL JOIN held h USING (sku)
WHERE coalesce(s.reserved, 0) <> coalesce(h.reserved, 0)
