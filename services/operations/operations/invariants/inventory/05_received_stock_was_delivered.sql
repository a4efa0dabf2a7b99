-- The units on the shelf's books are those of the deliveries.
-- (A delivery keeps no lines, so there is one sum over all skus.)
SELECT 'all skus', format('%s received', received), format('%s, as the deliveries say', delivered)
FROM (
    SELECT
        (SELECT coalesce(sum(received), 0) FROM stock) AS received,
        (SELECT coalesce(sum(units), 0) FROM deliveries) AS delivered
) sums
WHERE received <> delivered
