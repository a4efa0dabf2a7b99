-- Every end of an order was mailed.
-- (Earlier news may have been overtaken by it, and then is not mailed.)
SELECT f.subject, format('%s: no mail', f.type), 'one mail'
FROM outbox f
WHERE f.type IN ('order.confirmed.v1', 'order.rejected.v1', 'order.cancelled.v1')
  AND f.published_at >= :mails_since + make_interval(secs => :deploys)
  AND f.published_at < :scanned_at - make_interval(secs => :effects)
  -- A mail's item expires after 400 days.
  AND f.published_at > :scanned_at - interval '399 days'
  AND NOT EXISTS (SELECT FROM mails m WHERE (m.order_id, m.type) = (f.subject, f.type))
