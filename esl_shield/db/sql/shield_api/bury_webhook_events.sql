-- Dispatcher: give up what has waited for p_give_up_s, and forget what was given up p_keep_s ago; some at a time. Answers how
-- many were given up and forgotten.
CREATE OR REPLACE FUNCTION shield_api.bury_webhook_events(p_give_up_s double precision, p_keep_s double precision)
RETURNS TABLE (given_up bigint, forgotten bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH dead AS (
        UPDATE shield.webhook_events e SET dead_at = clock_timestamp(), last_problem = coalesce(e.last_problem, 'too_old')
            WHERE e.id IN (SELECT o.id FROM shield.webhook_events o WHERE o.dead_at IS NULL
                AND o.since < clock_timestamp() - make_interval(secs => p_give_up_s)
                ORDER BY o.since LIMIT 1000 FOR UPDATE SKIP LOCKED)
            RETURNING e.id
    ), gone AS (
        DELETE FROM shield.webhook_events e WHERE e.id IN (SELECT o.id FROM shield.webhook_events o
            WHERE o.dead_at < clock_timestamp() - make_interval(secs => p_keep_s) ORDER BY o.dead_at LIMIT 1000
            FOR UPDATE SKIP LOCKED)
            RETURNING e.id
    )
    SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM gone)
$$;
