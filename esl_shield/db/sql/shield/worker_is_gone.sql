-- Whether the process that took a call reports no longer. A server that has just started has heard nobody yet. What lies in
-- the future was noted before the clock was set back, and says nothing.
CREATE OR REPLACE FUNCTION shield.worker_is_gone(p_login text, p_worker text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lease CONSTANT interval := '3 seconds';
BEGIN
    RETURN pg_postmaster_start_time() NOT BETWEEN clock_timestamp() - lease AND clock_timestamp() AND NOT EXISTS (
        SELECT FROM shield.worker_beats b
        WHERE b.login = p_login AND b.worker = p_worker AND b.at > clock_timestamp() - lease
            AND b.at < clock_timestamp() + lease);
END
$$;
