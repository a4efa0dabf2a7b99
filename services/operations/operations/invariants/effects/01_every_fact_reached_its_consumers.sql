-- Every published fact about an order was dealt with by everyone who listens to it.
WITH due AS (
    SELECT
        f.subject, f.type, consumer.name,
        -- As Powertools spells the key of a fact's record.
        consumer.name || '#' || encode(sha256(convert_to('"' || f.id || '"', 'UTF8')), 'hex') AS record
    FROM outbox f
    CROSS JOIN (VALUES ('sendEmail'), ('countSales')) consumer (name)
    WHERE f.destination = 'events'
      -- An order that is parked is news for a person, and nothing to count.
      AND (consumer.name = 'sendEmail' OR f.type <> 'order.parked.v1')
      AND f.published_at >= :records_since + make_interval(secs => :deploys)
      AND f.published_at < :scanned_at - make_interval(secs => :effects)
      -- A record expires after 30 days.
      AND f.published_at > :scanned_at - interval '29 days'
)
SELECT subject, format('%s: not dealt with by %s', type, name), 'dealt with once'
FROM due
WHERE NOT EXISTS (SELECT FROM dealt_with d WHERE d.record = due.record)
