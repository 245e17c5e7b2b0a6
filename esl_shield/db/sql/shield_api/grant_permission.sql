-- Dialler: this agent (NULL: every agent) may dial this token in this time, p_calls times (NULL: as caps allow). The caller draws
-- p_id: the same again changes nothing. Without times it is good from now on for a day; never for more than 366.
-- Verdicts: GRANTED, UNCHANGED (this very permission stands), UNKNOWN (no such tenant or token), REFUSED (values unfit, or
-- p_id is another permission's).
CREATE OR REPLACE FUNCTION shield_api.grant_permission(
    p_tenant text, p_id uuid, p_token text, p_alias text, p_agent text, p_from timestamptz, p_until timestamptz,
    p_calls int, p_campaign text, p_ref text
) RETURNS TABLE (verdict text, token text, valid_from timestamptz, valid_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant_id int;
    v_token text;
    v_from CONSTANT timestamptz := coalesce(p_from, now());
    v_until CONSTANT timestamptz := coalesce(p_until, v_from + interval '1 day');
    v_before shield.dial_permissions;
    v_verdict text;
BEGIN
    p_agent := lower(p_agent);
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    v_token := coalesce(shield.named_token(v_tenant_id, p_token, p_alias),
        CASE WHEN p_alias IS NULL THEN (SELECT r.token FROM shield.rowless_token(v_tenant_id, p_token) r) END);
    PERFORM pg_advisory_xact_lock(hashtextextended(p_id::text, 2));
    SELECT p.* INTO v_before FROM shield.dial_permissions p WHERE p.id = p_id;
    v_verdict := CASE
        WHEN v_token IS NULL THEN 'UNKNOWN'
        WHEN v_before.id IS NOT NULL THEN CASE WHEN v_before.tenant_id = v_tenant_id AND v_before.token = v_token
            AND v_before.agent IS NOT DISTINCT FROM p_agent AND v_before.calls IS NOT DISTINCT FROM p_calls
            AND (p_from IS NULL OR v_before.valid_from = p_from) AND (p_until IS NULL OR v_before.valid_until = p_until)
            AND v_before.campaign IS NOT DISTINCT FROM p_campaign AND v_before.ref IS NOT DISTINCT FROM p_ref
            AND v_before.revoked_at IS NULL THEN 'UNCHANGED' ELSE 'REFUSED' END
        WHEN p_id IS NULL OR p_calls <= 0 OR v_until <= v_from OR v_until <= now() OR v_until > now() + interval '366 days'
            OR p_agent !~ '^[^[:cntrl:]]{1,64}$' OR p_campaign !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'
            OR p_ref !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' THEN 'REFUSED'
        ELSE 'GRANTED'
    END;
    IF v_verdict = 'GRANTED' THEN
        INSERT INTO shield.dial_permissions (id, tenant_id, token, agent, valid_from, valid_until, calls, campaign, ref)
            VALUES (p_id, v_tenant_id, v_token, p_agent, v_from, v_until, p_calls, p_campaign, p_ref)
            RETURNING * INTO v_before;
        -- A few that ended long ago are cleared on the way, so that the table stays small without a process of its own.
        DELETE FROM shield.dial_permissions p WHERE p.id IN (
            SELECT o.id FROM shield.dial_permissions o WHERE o.valid_until < now() - interval '30 days'
            ORDER BY o.valid_until LIMIT 4 FOR UPDATE SKIP LOCKED);
    END IF;
    PERFORM shield.note_permission(
        CASE v_verdict WHEN 'GRANTED' THEN 'permission.granted' ELSE 'permission.not_granted' END, v_tenant_id, p_id, v_token,
        CASE v_verdict WHEN 'GRANTED' THEN p_agent END,
        CASE v_verdict WHEN 'GRANTED' THEN jsonb_build_object('from', v_from, 'until', v_until, 'calls', p_calls,
            'campaign', p_campaign, 'ref', p_ref) ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    IF v_verdict IN ('GRANTED', 'UNCHANGED') THEN
        RETURN QUERY SELECT v_verdict, v_before.token::text, v_before.valid_from, v_before.valid_until;
    ELSE
        RETURN QUERY SELECT v_verdict, NULL::text, NULL::timestamptz, NULL::timestamptz;
    END IF;
END
$$;
