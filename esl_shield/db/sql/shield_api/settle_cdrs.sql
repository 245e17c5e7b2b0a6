-- Intake: looks again at calls of which records came and whose end was not clear then. Answers those that are settled now.
-- What was settled is forgotten after a day, what never was after a week.
CREATE OR REPLACE FUNCTION shield_api.settle_cdrs(p_limit int) RETURNS TABLE (call uuid, verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_leg record;
    v_verdict text;
BEGIN
    DELETE FROM shield.cdr_legs l USING shield.calls c WHERE l.received_at < now() - interval '1 day'
        AND c.id = l.call AND c.started_at = l.call_started_at
        AND (c.cdr IS NOT NULL OR l.received_at < now() - interval '7 days');
    FOR v_leg IN SELECT DISTINCT l.call, l.call_started_at FROM shield.cdr_legs l
            JOIN shield.calls c ON c.id = l.call AND c.started_at = l.call_started_at
            WHERE c.cdr IS NULL ORDER BY l.call_started_at, l.call LIMIT least(p_limit, 1000) LOOP
        v_verdict := shield.settle_call(v_leg.call, v_leg.call_started_at, false, NULL);
        IF v_verdict <> 'WAITING' THEN
            RETURN QUERY SELECT v_leg.call, v_verdict;
        END IF;
    END LOOP;
END
$$;
