-- Every order older than its start may wait and its saga may run is closed or PARKED.
SELECT
    id,
    format('PLACED at %s', placed_at),
    format('closed or PARKED by %s', placed_at + make_interval(secs => :outboxes + :sagas))
FROM orders
WHERE status = 'PLACED' AND placed_at < now() - make_interval(secs => :outboxes + :sagas)
