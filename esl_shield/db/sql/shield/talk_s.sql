-- Seconds of talk from answer to end; NULL: not answered, or in flight.
CREATE OR REPLACE FUNCTION shield.talk_s(p_answered_at timestamptz, p_ended_at timestamptz) RETURNS numeric(12, 3)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p_ended_at >= p_answered_at THEN round(extract(epoch FROM (p_ended_at - p_answered_at)), 3) END
$$;
