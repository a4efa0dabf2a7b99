-- An order's facts carry the versions 1 to that of the order, each once.
SELECT
    o.id,
    format('%s facts, versions %s', coalesce(t.facts, 0), coalesce(v.versions, 'none')),
    format('versions 1 to %s, each once', o.version)
FROM orders o
LEFT JOIN told t ON t.subject = o.id::text
LEFT JOIN LATERAL (
    SELECT string_agg(n::text, ', ' ORDER BY n) AS versions
    FROM generate_series(1, 62) n
    WHERE t.versions & (1::bigint << (n - 1)) <> 0
) v ON t.facts IS DISTINCT FROM o.version
    OR t.versions IS DISTINCT FROM (1::bigint << o.version) - 1
WHERE (t.facts IS DISTINCT FROM o.version
   OR t.versions IS DISTINCT FROM (1::bigint << o.version) - 1)
  -- Facts of an order that closed before that are no longer kept.
  AND (o.closed_at IS NULL OR o.closed_at > now() - make_interval(secs => :facts))
