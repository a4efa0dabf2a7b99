-- The catalogue as customers see it, to be compared with what inventory told.
SELECT sku, version, name, unit_price, currency FROM catalogue
