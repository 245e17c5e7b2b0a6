-- Whether every event from before p_until is in a block: only then may their month be detached.
CREATE OR REPLACE FUNCTION shield.is_sealed(p_until timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_last record;
BEGIN
    SELECT b.last_xid, b.last_id, (b.header::jsonb ->> 'floor')::bigint AS floor INTO v_last
        FROM shield.audit_blocks b ORDER BY b.number DESC LIMIT 1;
    RETURN NOT EXISTS (SELECT FROM shield.audit_events e WHERE e.at < p_until AND (v_last.last_xid IS NULL
        OR (e.id > v_last.floor AND (e.xid, e.id) > (v_last.last_xid, v_last.last_id))));
END
$$;
