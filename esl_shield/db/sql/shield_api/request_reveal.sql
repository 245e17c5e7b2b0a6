-- Revealer: ask for one look-up. p_kind 'number': the number behind p_token; 'calls': the calls of a number, which the
-- resolver is told with the ticket (p_ticket_hash: SHA-256 of its 16 bytes) and which makes the draft a request. It is over
-- 15 minutes from now, whatever happens to it. Verdict ALLOWED or REFUSED; why is in the audit event only.
CREATE OR REPLACE FUNCTION shield_api.request_reveal(
    p_tenant text, p_kind text, p_token text, p_case text, p_reason text, p_ticket_hash bytea
) RETURNS TABLE (verdict text, reveal uuid, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_paced CONSTANT boolean := shield.take_step();
    v_now CONSTANT timestamptz := clock_timestamp();
    v_id CONSTANT uuid := gen_random_uuid();
    v_tenant_id int;
    v_person text;
    v_token text;
    v_problem text;
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    SELECT k.token INTO v_token FROM shield.tokens k WHERE k.tenant_id = v_tenant_id AND k.token = p_token;
    v_person := shield.revealer(session_user::text, 'request', v_tenant_id);
    v_problem := CASE
        WHEN NOT v_paced THEN 'rate'
        WHEN v_tenant_id IS NULL THEN 'tenant_unknown'
        WHEN v_person IS NULL THEN 'right_missing'
        WHEN (p_kind = 'number' AND p_token IS NOT NULL
                OR p_kind = 'calls' AND p_token IS NULL AND octet_length(p_ticket_hash) = 32) IS NOT TRUE
            OR (btrim(p_case) ~ '^[^[:cntrl:]]{1,64}$' AND btrim(p_reason) ~ '^[^[:cntrl:]]+$'
                AND length(btrim(p_reason)) <= 300) IS NOT TRUE THEN 'form'
        WHEN p_kind = 'number' AND v_token IS NULL THEN 'token_unknown'
    END;
    IF v_problem IS NOT NULL THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant_id, 'reveal.refused',
            jsonb_build_object('step', 'request', 'reason', v_problem));
        RETURN QUERY SELECT 'REFUSED', NULL::uuid, NULL::timestamptz;
        RETURN;
    END IF;
    -- What is over needs its number no more; a ticket drawn at the last moment lives for 30 seconds.
    UPDATE shield.reveals r SET number_index = NULL WHERE r.id IN (SELECT o.id FROM shield.reveals o
        WHERE o.number_index IS NOT NULL AND o.expires_at <= v_now - interval '1 minute' FOR UPDATE SKIP LOCKED);
    INSERT INTO shield.reveals (id, tenant_id, kind, token, case_id, reason, state, requester, requester_person,
            requested_at, expires_at)
        VALUES (v_id, v_tenant_id, p_kind, v_token, btrim(p_case), btrim(p_reason),
            CASE p_kind WHEN 'calls' THEN 'DRAFT' ELSE 'REQUESTED' END, session_user, v_person,
            v_now, v_now + interval '15 minutes');
    IF p_kind = 'calls' THEN
        PERFORM shield.draw_ticket(v_id, v_tenant_id, 'request', p_ticket_hash);
    END IF;
    PERFORM shield.note_step(CASE p_kind WHEN 'calls' THEN 'reveal.drafted' ELSE 'reveal.requested' END, v_id,
        jsonb_build_object('why', btrim(p_reason)));
    RETURN QUERY SELECT 'ALLOWED', v_id, v_now + interval '15 minutes';
END
$$;
