-- Sealer: how old the oldest event in no block is, in seconds, how many wait (at most 100,000 are counted), and how many of
-- them for a transaction that is still open somewhere in the cluster.
CREATE OR REPLACE FUNCTION shield_api.sealing_lag(p_floor bigint, p_xid text, p_id bigint)
RETURNS TABLE (lag_s double precision, waiting bigint, held bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - min(w.at)), 0), 0)::double precision,
            count(*), count(*) FILTER (WHERE w.xid >= pg_snapshot_xmin(pg_current_snapshot()))
        FROM (SELECT e.at, e.xid FROM shield.audit_events e
            WHERE e.id > p_floor AND (e.xid, e.id) > (p_xid::xid8, p_id) ORDER BY e.xid, e.id LIMIT 100000) w;
END
$$;
