-- Resolver: a permit was redeemed but the number may not be called, or could not be decrypted.
CREATE OR REPLACE FUNCTION shield_api.note_refusal(p_call uuid, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_call record;
BEGIN
    SELECT c.tenant_id, c.agent, c.token INTO v_call FROM shield.calls c
        WHERE c.id = p_call AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days';
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (
        v_call.tenant_id, 'permit.refused_number', v_call.agent, v_call.token, p_call,
        jsonb_build_object('reason', CASE WHEN p_reason ~ '^[a-z_.]{1,64}$' THEN p_reason ELSE 'other' END));
END
$$;
