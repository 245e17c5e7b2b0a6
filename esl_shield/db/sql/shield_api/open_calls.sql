-- Reaper: calls whose legs FreeSWITCH should be asked about, with the legs' UUIDs: those whose worker reports no longer,
-- those ended as LOST of which a record has come, and, with p_all, those older than a minute of workers that live.
CREATE OR REPLACE FUNCTION shield_api.open_calls(p_all boolean)
RETURNS TABLE (call uuid, legs uuid[], age_s double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT c.id,
            array_remove(ARRAY[c.channel, c.customer_channel,
                (SELECT l.other_channel FROM shield.cdr_legs l WHERE l.call = c.id AND l.channel = c.channel)], NULL),
            extract(epoch FROM clock_timestamp() - c.started_at)::double precision
        FROM shield.calls c JOIN LATERAL (SELECT shield.worker_is_gone(c.login, c.worker) AS gone) w ON true
        WHERE c.state IN ('AUTHORIZED', 'ANSWERED') AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
        AND (w.gone OR (p_all AND c.started_at NOT BETWEEN now() - interval '1 minute' AND now()))
        ORDER BY c.started_at LIMIT 20000;
    RETURN QUERY SELECT c.id, array_remove(ARRAY[c.channel, c.customer_channel, l.other_channel], NULL),
            extract(epoch FROM clock_timestamp() - c.started_at)::double precision
        FROM shield.cdr_legs l JOIN shield.calls c ON c.id = l.call AND c.started_at = l.call_started_at
        WHERE c.state = 'LOST' AND c.cdr IS NULL AND l.channel = c.channel LIMIT 1000;
END
$$;
