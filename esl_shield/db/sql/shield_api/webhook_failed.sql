-- Dispatcher: an attempt failed; the event is due again after p_wait_s, or is given up (p_dead). p_pause_s: the receiver
-- itself is unwell and is left alone so long; NULL: it refused this event only.
CREATE OR REPLACE FUNCTION shield_api.webhook_failed(
    p_id bigint, p_problem text, p_wait_s double precision, p_pause_s double precision, p_dead boolean
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH failed AS (
        UPDATE shield.webhook_events e SET last_problem = p_problem,
                next_at = clock_timestamp() + make_interval(secs => p_wait_s),
                dead_at = CASE WHEN p_dead THEN clock_timestamp() ELSE e.dead_at END
            WHERE e.id = p_id RETURNING e.webhook
    )
    UPDATE shield.webhooks w SET last_problem = p_problem,
            failures = CASE WHEN p_pause_s IS NULL THEN w.failures ELSE w.failures + 1 END,
            paused_until = CASE WHEN p_pause_s IS NULL THEN w.paused_until
                ELSE clock_timestamp() + make_interval(secs => p_pause_s) END
        WHERE w.id IN (SELECT f.webhook FROM failed f)
$$;
