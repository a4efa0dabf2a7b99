-- Of every product, what was received is available, reserved or shipped.
SELECT
    sku,
    format('received %s', received),
    format('%s: %s available, %s reserved, %s shipped', available + reserved + shipped,
           available, reserved, shipped)
FROM stock
WHERE received <> available + reserved + shipped
