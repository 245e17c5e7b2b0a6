-- Sealer: the next events of finished transactions, in their order, and how far transactions had finished. The snapshot
-- the events are read with is the one its horizon is taken of, so nothing below it can still appear.
-- In another cluster than the last block's (p_crosses) all that is in no block is taken at once: what the dump brought
-- lies behind the last position in the old numbering, what came since has a higher id than any sealed event (p_top).
CREATE OR REPLACE FUNCTION shield_api.unsealed_events(
    p_crosses boolean, p_floor bigint, p_top bigint, p_xid text, p_id bigint, p_limit int
) RETURNS TABLE (horizon text, id bigint, xid text, at_us bigint, tenant_id int, kind text, login text, agent text,
    token text, call text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF p_crosses THEN
        RETURN QUERY SELECT pg_snapshot_xmin(pg_current_snapshot())::text, e.id, e.xid::text,
                (extract(epoch FROM e.at) * 1000000)::bigint, e.tenant_id, e.kind::text, e.login, e.agent::text,
                e.token::text, e.call::text, e.detail::text
            FROM shield.audit_events e
            WHERE (e.id > p_top OR (e.xid, e.id) > (p_xid::xid8, p_id))
            AND (e.xid < pg_snapshot_xmin(pg_current_snapshot()) OR e.xid >= pg_snapshot_xmax(pg_current_snapshot()))
            ORDER BY e.xid, e.id;
        RETURN;
    END IF;
    RETURN QUERY SELECT pg_snapshot_xmin(pg_current_snapshot())::text, e.id, e.xid::text,
            (extract(epoch FROM e.at) * 1000000)::bigint, e.tenant_id, e.kind::text, e.login, e.agent::text,
            e.token::text, e.call::text, e.detail::text
        FROM shield.audit_events e
        WHERE e.id > p_floor AND (e.xid, e.id) > (p_xid::xid8, p_id)
        AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY e.xid, e.id LIMIT p_limit;
END
$$;
