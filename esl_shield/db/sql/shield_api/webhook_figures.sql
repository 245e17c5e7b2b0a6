-- Sealer: how webhooks are doing, as site_figures answers its figures: events that wait, the age of the oldest of them in
-- seconds, events that were given up; of the p_tenants tenants with webhooks that have most tokens, the others in one. An
-- outage of days must not cost more than one of an hour: of one webhook at most 10,000 events that wait are looked at, in the
-- order they are due, which is the order of their age but for those tried already; of those given up the last 100,000.
-- What waits for a webhook that is off is nobody's delay.
CREATE OR REPLACE FUNCTION shield_api.webhook_figures(p_tenants int)
RETURNS TABLE (figure text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH ranked AS (
        SELECT t.id, t.domain, row_number() OVER (ORDER BY coalesce(s.tokens, 0) DESC, t.id) AS place
            FROM shield.tenants t LEFT JOIN shield.token_space s ON s.tenant_id = t.id
            WHERE EXISTS (SELECT FROM shield.webhooks w WHERE w.tenant_id = t.id)
    ), given_up AS (
        SELECT e.webhook, count(*) AS dead FROM (SELECT o.webhook FROM shield.webhook_events o WHERE o.dead_at IS NOT NULL
            ORDER BY o.dead_at DESC LIMIT 100000) e GROUP BY e.webhook
    ), counted AS (
        SELECT CASE WHEN r.place <= p_tenants THEN r.domain ELSE 'other' END AS label, sum(q.waiting) AS waiting,
                extract(epoch FROM clock_timestamp() - min(q.since)) AS oldest_s, coalesce(sum(g.dead), 0) AS dead
            FROM ranked r JOIN shield.webhooks w ON w.tenant_id = r.id LEFT JOIN given_up g ON g.webhook = w.id
            CROSS JOIN LATERAL (SELECT count(*) AS waiting, min(e.since) AS since FROM (
                SELECT o.since FROM shield.webhook_events o WHERE o.webhook = w.id AND o.dead_at IS NULL AND w.enabled
                    ORDER BY o.next_at, o.id LIMIT 10000) e) q
            GROUP BY 1
    )
    SELECT f.figure, c.label, f.value::double precision FROM counted c CROSS JOIN LATERAL (VALUES
        ('webhook_waiting_events', c.waiting), ('webhook_oldest_waiting_seconds', greatest(coalesce(c.oldest_s, 0), 0)),
        ('webhook_dead_events', c.dead)) f (figure, value)
$$;
