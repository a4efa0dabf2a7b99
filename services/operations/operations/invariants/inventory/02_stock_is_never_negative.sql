-- Of no product is there less than nothing, anywhere.
SELECT
    sku,
    format('received %s, available %s, reserved %s, shipped %s', received, available, reserved, shipped),
    'none below 0'
FROM stock
WHERE least(received, available, reserved, shipped) < 0
