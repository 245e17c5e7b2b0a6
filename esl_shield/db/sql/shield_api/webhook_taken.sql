-- Dispatcher: receivers took these events; they are gone from the outbox, and their webhooks are well.
CREATE OR REPLACE FUNCTION shield_api.webhook_taken(p_ids bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH taken AS (
        DELETE FROM shield.webhook_events e WHERE e.id = ANY (p_ids) RETURNING e.webhook
    )
    UPDATE shield.webhooks w SET failures = 0, paused_until = NULL, last_problem = NULL, delivered_at = now()
        WHERE w.id IN (SELECT t.webhook FROM taken t)
        AND (w.failures > 0 OR (w.delivered_at > now() - interval '1 minute') IS NOT TRUE)
$$;
