-- What inventory committed left its outbox within minutes.
SELECT
    subject,
    format('%s waits since %s, tried %s times: %s', type, created_at, attempts, coalesce(last_error, '')),
    format('gone by %s', created_at + make_interval(secs => :outboxes))
FROM outbox
WHERE published_at IS NULL AND created_at < now() - make_interval(secs => :outboxes)
