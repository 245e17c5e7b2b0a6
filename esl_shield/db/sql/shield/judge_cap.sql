-- One cap on calls as take_call reads it: p_used calls since p_since, in a window of this length; a NULL cap is off.
CREATE OR REPLACE FUNCTION shield.judge_cap(
    p_rule text, p_cap int, p_since timestamptz, p_used int, p_window interval, p_at timestamptz
) RETURNS TABLE (rule text, state text, reason text, detail jsonb)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_used CONSTANT int := CASE WHEN p_since > p_at - p_window THEN p_used ELSE 0 END;
BEGIN
    RETURN QUERY SELECT p_rule, CASE WHEN p_cap IS NULL THEN 'off' WHEN v_used < p_cap THEN 'passes' ELSE 'refuses' END,
        p_rule, CASE WHEN p_cap IS NULL THEN '{}' ELSE jsonb_build_object('cap', p_cap, 'used', v_used) END;
END
$$;
