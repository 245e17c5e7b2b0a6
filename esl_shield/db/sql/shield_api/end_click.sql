-- Dialler: the agent's leg will not come: FreeSWITCH was not asked (VOID, and its key may be used again) or ended it (FAILED,
-- with the cause). From then on a leg of this UUID gets no call. False when a worker has it already, or it is over.
CREATE OR REPLACE FUNCTION shield_api.end_click(p_tenant text, p_channel uuid, p_state text, p_cause text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_click record;
BEGIN
    UPDATE shield.clicks k SET state = p_state,
            cause = CASE WHEN p_cause ~ '^[A-Z][A-Z0-9_]{0,63}$' AND p_cause !~ '[0-9]{5}' THEN p_cause END
        FROM shield.tenants t WHERE t.name = p_tenant AND k.tenant_id = t.id AND k.channel = p_channel AND k.state = 'ASKED'
        AND p_state IN ('VOID', 'FAILED')
        RETURNING k.tenant_id, k.agent, k.token, k.cause INTO v_click;
    IF v_click.tenant_id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, detail) VALUES (v_click.tenant_id, 'click.ended',
        v_click.agent, v_click.token, jsonb_strip_nulls(jsonb_build_object('channel', p_channel, 'state', lower(p_state),
            'cause', v_click.cause)));
    RETURN true;
END
$$;
