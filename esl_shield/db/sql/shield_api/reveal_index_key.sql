-- Resolver: the wrapped keys that find the token of a number, newest first (two while an index key is being replaced), for a
-- ticket whose step names a number, and only while that ticket is good. The ticket stays for bind_reveal.
CREATE OR REPLACE FUNCTION shield_api.reveal_index_key(p_ticket_hash bytea)
RETURNS TABLE (tenant_id int, version int, wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_ticket shield.reveal_tickets;
BEGIN
    SELECT t.* INTO v_ticket FROM shield.reveal_tickets t WHERE t.ticket_hash = p_ticket_hash
        AND t.expires_at > clock_timestamp() AND t.step IN ('request', 'approve');
    IF v_ticket.reveal IS NULL THEN
        INSERT INTO shield.audit_events (kind, detail)
            VALUES ('reveal.refused', '{"step": "number", "reason": "ticket_unknown"}');
        RETURN;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_ticket.tenant_id, 'key.read',
        jsonb_build_object('purpose', 'index',
        'version', (SELECT k.index FROM shield.live_keys(v_ticket.tenant_id) k), 'reveal', v_ticket.reveal));
    RETURN QUERY SELECT d.tenant_id, d.version::int, d.wrapped, d.kek_id FROM shield.data_keys d
        WHERE d.tenant_id = v_ticket.tenant_id AND d.purpose = 'index' AND d.retired_at IS NULL AND d.destroyed_at IS NULL
        ORDER BY d.version DESC;
END
$$;
