-- Worker: one more permit for a call of this login that has not been answered, to try another gateway. Caps are not
-- counted again, the login's mint rate is; a call has at most 4 permits within 5 minutes, and a new one ends those before
-- it.
CREATE OR REPLACE FUNCTION shield_api.next_permit(
    p_call uuid, p_permit_hash bytea, p_gateway text, p_delivery text, p_sip_call_id text
) RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    permit_ttl CONSTANT interval := '10 seconds';
    v_call record;
    v_reason text;
BEGIN
    SELECT c.tenant_id, c.agent, c.token, c.permits, c.state, c.started_at INTO v_call FROM shield.calls c
        WHERE c.id = p_call AND c.login = session_user::text AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days' FOR UPDATE;
    v_reason := CASE
        WHEN v_call.tenant_id IS NULL THEN 'call_unknown'
        WHEN v_call.state <> 'AUTHORIZED' THEN 'call_over'
        WHEN v_call.started_at <= clock_timestamp() - interval '5 minutes' THEN 'call_old'
        WHEN v_call.permits >= 4 THEN 'permit_limit'
        WHEN NOT coalesce((SELECT k.status = 'active' AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
            FROM shield.tokens k WHERE k.tenant_id = v_call.tenant_id AND k.token = v_call.token),
            shield.rowless_live(v_call.tenant_id, v_call.token)) THEN 'token_over'
    END;
    IF v_reason IS NULL AND NOT shield.take_mint(
            (SELECT CASE WHEN l.locked_at IS NULL THEN l.mint_per_s ELSE 0 END FROM shield.logins l WHERE l.login = session_user::text)) THEN
        v_reason := 'mint_rate';
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (
        v_call.tenant_id, CASE WHEN v_reason IS NULL THEN 'permit.renewed' ELSE 'permit.denied' END,
        v_call.agent, v_call.token, p_call,
        CASE WHEN v_reason IS NULL THEN jsonb_build_object('gateway', p_gateway, 'delivery', p_delivery)
            ELSE jsonb_build_object('reason', v_reason) END);
    IF v_reason IS NOT NULL THEN
        RETURN QUERY SELECT 'FORBIDDEN';
        RETURN;
    END IF;
    UPDATE shield.calls c SET permits = c.permits + 1, gateway = p_gateway, delivery = p_delivery,
            customer_channel = shield.leg_of(p_sip_call_id)
        WHERE c.id = p_call AND c.started_at = v_call.started_at;
    DELETE FROM shield.permits m WHERE m.call = p_call;
    INSERT INTO shield.permits (permit_hash, call, tenant_id, agent, token, gateway, delivery, sip_call_id, expires_at)
        VALUES (p_permit_hash, p_call, v_call.tenant_id, v_call.agent, v_call.token, p_gateway, p_delivery, p_sip_call_id,
            clock_timestamp() + permit_ttl);
    RETURN QUERY SELECT 'ALLOWED';
END
$$;
