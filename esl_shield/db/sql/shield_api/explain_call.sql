-- Steward: what would become of an agent's call to a token at a moment, every rule with its state, in the order calls meet
-- them: passes, refuses, off (no such rule) or later (asked when the number is known). The first that refuses decides;
-- verdict is what the agent's telephone would be told by it. Nothing is counted, minted or written but the audit event.
-- No row for an unknown tenant.
CREATE OR REPLACE FUNCTION shield_api.explain_call(p_tenant text, p_agent text, p_token text, p_at timestamptz)
RETURNS TABLE (rule text, state text, reason text, verdict text, detail jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_at CONSTANT timestamptz := coalesce(p_at, clock_timestamp());
    v_tenant record;
    v_token record;
    v_usage record;
    v_sum bigint;
    v_permission uuid;
BEGIN
    p_agent := lower(p_agent);
    SELECT t.id, t.token_per_day, t.agent_per_hour, t.tenant_per_day, t.requires_permission, t.rowless INTO v_tenant
        FROM shield.tenants t WHERE t.name = p_tenant;
    IF v_tenant.id IS NULL THEN
        RETURN;
    END IF;
    SELECT k.token, k.status, k.expires_at, nullif(coalesce(k.per_day, v_tenant.token_per_day), 2147483647) AS per_day INTO v_token
        FROM shield.tokens k WHERE k.tenant_id = v_tenant.id AND k.token = p_token;
    IF v_tenant.rowless AND v_token.token IS NULL THEN
        SELECT r.token::shield.token, r.status::shield.token_status, r.expires_at,
                nullif(coalesce(r.per_day, v_tenant.token_per_day), 2147483647) AS per_day
            INTO v_token FROM shield.rowless_token(v_tenant.id, p_token) r;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, detail) VALUES (v_tenant.id, 'policy.explained',
        CASE WHEN p_agent ~ '^[^[:cntrl:]]{1,64}$' THEN p_agent END, v_token.token, jsonb_build_object('at', v_at));
    RETURN QUERY SELECT j.rule, j.state, j.reason, 'FORBIDDEN', j.detail
        FROM shield.judge_rules(v_tenant.id, p_agent, p_token, v_at) j WHERE j.rule = 'agent_lock';
    RETURN QUERY SELECT 'token', CASE WHEN x.reason IS NULL THEN 'passes' ELSE 'refuses' END, x.reason, 'NOT_FOUND',
            jsonb_strip_nulls(jsonb_build_object('status', v_token.status, 'expires_at', v_token.expires_at))
        FROM (SELECT CASE WHEN v_token.token IS NULL THEN 'token_unknown' WHEN v_token.status <> 'active' THEN 'token_revoked'
            WHEN v_token.expires_at <= v_at THEN 'token_expired' END AS reason) x;
    IF v_token.token IS NULL THEN
        RETURN;
    END IF;
    IF v_tenant.requires_permission THEN
        v_permission := shield.find_permission(v_tenant.id, p_token, p_agent, v_at);
    END IF;
    RETURN QUERY SELECT 'permission', CASE WHEN NOT v_tenant.requires_permission THEN 'off' WHEN v_permission IS NULL THEN 'refuses'
            ELSE 'passes' END, CASE WHEN v_tenant.requires_permission AND v_permission IS NULL
            THEN shield.why_no_permission(v_tenant.id, p_token, p_agent, v_at) ELSE 'permission_missing' END,
        'NOT_FOUND', jsonb_strip_nulls(jsonb_build_object('permission', v_permission));
    RETURN QUERY SELECT j.rule, j.state, j.reason, 'FORBIDDEN', j.detail
        FROM shield.judge_rules(v_tenant.id, p_agent, p_token, v_at) j WHERE j.rule <> 'agent_lock' ORDER BY j.place;
    SELECT u.since, u.used INTO v_usage FROM shield.token_usage u WHERE u.tenant_id = v_tenant.id AND u.token = p_token;
    RETURN QUERY SELECT c.rule, c.state, c.reason, 'FORBIDDEN', c.detail
        FROM shield.judge_cap('token_cap', v_token.per_day, v_usage.since, v_usage.used, interval '24 hours', v_at) c;
    SELECT u.since, u.used INTO v_usage FROM shield.agent_usage u WHERE u.tenant_id = v_tenant.id AND u.agent = p_agent;
    RETURN QUERY SELECT c.rule, c.state, c.reason, 'FORBIDDEN', c.detail
        FROM shield.judge_cap('agent_cap', v_tenant.agent_per_hour, v_usage.since, v_usage.used, interval '1 hour', v_at) c;
    SELECT sum(u.used) INTO v_sum FROM shield.tenant_usage u
        WHERE u.tenant_id = v_tenant.id AND u.day >= (v_at AT TIME ZONE 'UTC')::date;
    RETURN QUERY SELECT c.rule, c.state, c.reason, 'FORBIDDEN', c.detail
        FROM shield.judge_cap('tenant_cap', v_tenant.tenant_per_day, v_at, coalesce(v_sum, 0)::int, interval '24 hours', v_at) c;
    RETURN QUERY VALUES ('do_not_call', 'later', 'do_not_call', 'FORBIDDEN', '{"by": "resolver"}'::jsonb),
        ('destination', 'later', 'destination', 'FORBIDDEN', '{"by": "resolver"}'::jsonb);
END
$$;
