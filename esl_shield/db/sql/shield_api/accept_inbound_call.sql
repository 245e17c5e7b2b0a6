-- Worker: a customer calls one of the tenants' own numbers. Stores the call and the audit event; answers whom to ring: the
-- agent who called this customer last, and the DID's destinations. A token that is none of the tenant's counts as anonymous.
-- The parked leg is the customer's own, so a transfer to a token is asked for by it.
-- Verdicts: ACCEPTED, NOT_FOUND (no such DID), FORBIDDEN (the call was accepted before).
CREATE OR REPLACE FUNCTION shield_api.accept_inbound_call(
    p_call uuid, p_did text, p_token text, p_channel uuid, p_sip_call uuid, p_last_agent_within interval
) RETURNS TABLE (verdict text, domain text, token text, last_agent text, destinations text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_did record;
    v_token text;
    v_alias text;
    v_agent text;
    v_verdict text;
BEGIN
    SELECT d.did, d.tenant_id, d.destinations, t.domain, t.hooked INTO v_did
        FROM shield.dids d JOIN shield.tenants t ON t.id = d.tenant_id WHERE d.did = p_did AND d.enabled;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(p_token, v_did.tenant_id));  -- as authorize_call does
    SELECT k.token, (SELECT a.alias FROM shield.aliases a WHERE a.tenant_id = k.tenant_id AND a.token = k.token
            AND a.lot = CASE WHEN k.lot IS NULL THEN -1 ELSE k.lot END ORDER BY a.created_at, a.alias LIMIT 1)
        INTO v_token, v_alias FROM shield.tokens k WHERE k.tenant_id = v_did.tenant_id AND k.token = p_token;
    PERFORM pg_advisory_xact_lock(hashtextextended(p_call::text, 0));
    v_verdict := CASE
        WHEN v_did.tenant_id IS NULL THEN 'NOT_FOUND'
        WHEN EXISTS (SELECT FROM shield.calls c WHERE c.id = p_call
            AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days') THEN 'FORBIDDEN'
        ELSE 'ACCEPTED'
    END;
    INSERT INTO shield.audit_events (tenant_id, kind, token, call, detail) VALUES (
        v_did.tenant_id, CASE v_verdict WHEN 'ACCEPTED' THEN 'call.accepted' ELSE 'call.refused' END, v_token, p_call,
        jsonb_strip_nulls(jsonb_build_object('did', v_did.did, 'sip_call', p_sip_call,
            'reason', CASE v_verdict WHEN 'NOT_FOUND' THEN 'did_unknown' WHEN 'FORBIDDEN' THEN 'call_repeated' END)));
    IF v_verdict = 'ACCEPTED' THEN
        SELECT c.agent INTO v_agent FROM shield.calls c
            WHERE c.tenant_id = v_did.tenant_id AND c.token = v_token AND c.direction = 'outbound'
            AND c.started_at > now() - p_last_agent_within AND c.state <> 'REFUSED' AND c.agent IS NOT NULL
            ORDER BY c.started_at DESC LIMIT 1;
        INSERT INTO shield.calls (id, tenant_id, token, alias, channel, customer_channel, state, direction, did, hooked)
            VALUES (p_call, v_did.tenant_id, v_token, v_alias, p_channel, p_channel, 'AUTHORIZED', 'inbound', v_did.did,
                v_did.hooked);
        IF v_did.hooked THEN
            PERFORM shield.post_call(p_call, now(), 'call.started');
        END IF;
    END IF;
    RETURN QUERY SELECT v_verdict, v_did.domain, v_token, v_agent, v_did.destinations::text[];
END
$$;
