-- Resolver: exchange a permit for the ciphertext. The permit is gone whatever the answer; two redeemers queue for its row
-- and only one finds it. No rows unless everything is exactly as minted.
CREATE OR REPLACE FUNCTION shield_api.redeem_permit(
    p_permit_hash bytea, p_token text, p_gateway text, p_delivery text, p_sip_call_id text
) RETURNS TABLE (call uuid, tenant_id int, tenant text, token text, ciphertext bytea, key_version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    longest CONSTANT interval := '15 seconds';  -- of a permit's life; one that has more was minted before the clock was set back
    v_permit record;
    v_token record;
    v_reason text;
BEGIN
    DELETE FROM shield.permits m WHERE m.permit_hash = p_permit_hash
        RETURNING m.call, m.tenant_id, m.agent, m.token, m.gateway, m.delivery, m.sip_call_id, m.expires_at INTO v_permit;
    SELECT t.name, k.ciphertext, k.key_version, k.status, k.expires_at INTO v_token
        FROM shield.tokens k JOIN shield.tenants t ON t.id = k.tenant_id
        WHERE k.tenant_id = v_permit.tenant_id AND k.token = v_permit.token;
    v_reason := CASE
        WHEN v_permit.call IS NULL THEN 'permit_unknown'
        WHEN v_permit.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + longest THEN 'permit_expired'
        WHEN p_token IS DISTINCT FROM v_permit.token THEN 'token_differs'
        WHEN p_gateway IS DISTINCT FROM v_permit.gateway THEN 'gateway_differs'
        WHEN p_delivery IS DISTINCT FROM v_permit.delivery THEN 'delivery_differs'
        WHEN v_permit.sip_call_id IS NOT NULL AND p_sip_call_id IS DISTINCT FROM v_permit.sip_call_id THEN 'call_id_differs'
        WHEN NOT shield.may_redeem(v_permit.delivery) THEN 'delivery_foreign'
        WHEN v_token.status IS DISTINCT FROM 'active' OR v_token.expires_at <= clock_timestamp() THEN 'token_over'
    END;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (
        v_permit.tenant_id, CASE WHEN v_reason IS NULL THEN 'permit.redeemed' ELSE 'permit.refused' END,
        v_permit.agent, v_permit.token, v_permit.call,
        CASE WHEN v_reason IS NULL THEN jsonb_build_object('gateway', v_permit.gateway, 'delivery', v_permit.delivery)
            ELSE jsonb_build_object('reason', v_reason) END);
    IF v_reason IS NULL THEN
        RETURN QUERY SELECT v_permit.call, v_permit.tenant_id, v_token.name, v_permit.token::text,
            v_token.ciphertext::bytea, v_token.key_version::int;
    END IF;
END
$$;
