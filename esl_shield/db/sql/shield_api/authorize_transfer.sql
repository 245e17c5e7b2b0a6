-- Worker: may the customer on this leg be connected to this token? A transferred leg has no agent of its own: the right is
-- that of the agent who talked to this customer last, in a call of this tenant that is live now. The row is locked, so the
-- call cannot end in between. A leg of no such call is answered like an unknown token; everything else is as for a call
-- that agent dials. The new call names the one it comes from.
CREATE OR REPLACE FUNCTION shield_api.authorize_transfer(
    p_call uuid, p_domain text, p_token text, p_dialled_class text, p_dialled_length int,
    p_permit_hash bytea, p_gateway text, p_delivery text, p_sip_call_id text, p_channel uuid
) RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_from record;
    v_verdict text;
BEGIN
    SELECT c.id, c.tenant_id, c.token, coalesce((SELECT g.agent FROM shield.call_agents g WHERE g.call = c.id
            AND g.call_started_at = c.started_at ORDER BY g.position DESC LIMIT 1), c.agent)::text AS agent
        INTO v_from FROM shield.calls c JOIN shield.tenants t ON t.id = c.tenant_id
        WHERE t.domain = lower(p_domain) AND c.customer_channel = p_channel AND c.state = 'ANSWERED'
        AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
        ORDER BY c.started_at DESC LIMIT 1 FOR UPDATE OF c;
    IF v_from.id IS NULL THEN
        INSERT INTO shield.audit_events (tenant_id, kind, call, detail) VALUES (
            (SELECT t.id FROM shield.tenants t WHERE t.domain = lower(p_domain)), 'call.refused', p_call,
            '{"reason": "transfer_unknown"}');
        RETURN QUERY SELECT 'NOT_FOUND';
        RETURN;
    END IF;
    SELECT a.verdict INTO v_verdict FROM shield.authorize(p_call, p_domain, v_from.agent, p_token, p_dialled_class,
        p_dialled_length, p_permit_hash, p_gateway, p_delivery, p_sip_call_id, p_channel, NULL) a;
    UPDATE shield.calls c SET referred_by = v_from.id WHERE c.id = p_call AND c.tenant_id = v_from.tenant_id
        AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days' AND c.referred_by IS NULL
        AND c.channel = p_channel AND c.state IN ('AUTHORIZED', 'REFUSED');
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (v_from.tenant_id,
        'call.transferred', v_from.agent, v_from.token, v_from.id,
        jsonb_build_object('to_call', p_call, 'verdict', lower(v_verdict)));
    RETURN QUERY SELECT v_verdict;
END
$$;
