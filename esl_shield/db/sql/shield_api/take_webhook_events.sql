-- Dispatcher: events that are due, for p_lease_s its own: at most p_each of a webhook, p_most in all, none of p_busy. Of a
-- subject (a call, an agent) only the oldest that waits is given, so a call's events go out one after the other; of a webhook
-- whose receiver did not take the last one, one. An event whose dispatcher dies is due again when the lease is over.
CREATE OR REPLACE FUNCTION shield_api.take_webhook_events(p_each int, p_most int, p_busy int[], p_lease_s double precision)
RETURNS TABLE (id bigint, webhook int, tenant text, name text, url text, secret_version int, both_sign boolean,
    failures int, attempts int, body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT e.id FROM shield.webhooks w CROSS JOIN LATERAL (
            SELECT c.id, c.next_at FROM shield.webhook_events c
                WHERE c.webhook = w.id AND c.dead_at IS NULL AND c.next_at <= clock_timestamp()
                AND (c.subject IS NULL OR NOT EXISTS (SELECT FROM shield.webhook_events b WHERE b.webhook = c.webhook
                    AND b.subject = c.subject AND b.dead_at IS NULL AND b.id < c.id))
                ORDER BY c.next_at, c.id LIMIT CASE WHEN w.failures > 0 THEN 1 ELSE p_each END
                FOR UPDATE OF c SKIP LOCKED) e
            WHERE w.enabled AND (w.paused_until <= clock_timestamp()) IS NOT FALSE AND w.id <> ALL (p_busy)
            ORDER BY e.next_at LIMIT p_most
    )
    UPDATE shield.webhook_events e SET attempts = e.attempts + 1,
            next_at = clock_timestamp() + make_interval(secs => p_lease_s)
        FROM due d, shield.webhooks w, shield.tenants t
        WHERE e.id = d.id AND w.id = e.webhook AND t.id = e.tenant_id
        RETURNING e.id, w.id, t.name, w.name, w.url, w.secret_version,
            coalesce(w.rotated_at > now() - interval '1 day', false), w.failures, e.attempts, e.body::text;
END
$$;
