-- No fact was mailed twice, and nothing was mailed that no fact tells of.
SELECT m.order_id, format('%s: %s mails', m.type, m.mails), format('at most %s', coalesce(f.facts, 0))
FROM (SELECT order_id, type, count(*) AS mails FROM mails GROUP BY 1, 2) m
LEFT JOIN (
    SELECT subject, type, count(*) AS facts FROM outbox WHERE destination = 'events' GROUP BY 1, 2
) f ON (f.subject, f.type) = (m.order_id, m.type)
LEFT JOIN orders o ON o.id::text = m.order_id
WHERE m.mails > coalesce(f.facts, 0)
  -- Facts of an order that closed before that are no longer kept, its mails are.
  AND (o.closed_at IS NULL OR o.closed_at > now() - make_interval(secs => :facts))
