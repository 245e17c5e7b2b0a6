-- Every rule of a tenant's policy on one call at one moment, in the order they are asked: state is off, passes or refuses,
-- detail the rule's value and what it met. The one place that judges: calls (shield.judge_call) and explanations
-- (shield_api.explain_call) both ask here, so neither can say what the other does not. Changes nothing.
CREATE OR REPLACE FUNCTION shield.judge_rules(p_tenant_id int, p_agent text, p_token text, p_at timestamptz)
RETURNS TABLE (place int, rule text, state text, reason text, detail jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_lock shield.agent_locks;
    v_block shield.blocked_tokens;
    v_policy shield.policies;
    v_mark shield.policy_marks;
    v_own text := (SELECT k.time_zone FROM shield.tokens k WHERE k.tenant_id = p_tenant_id AND k.token = p_token);
    v_local timestamp;
    v_clock jsonb;
    v_day int;
    v_minute int;
BEGIN
    SELECT l.* INTO v_lock FROM shield.agent_locks l WHERE l.tenant_id = p_tenant_id AND l.agent = p_agent;
    RETURN QUERY SELECT 1, 'agent_lock', CASE WHEN v_lock.agent IS NULL THEN 'passes' ELSE 'refuses' END, 'agent_locked',
        jsonb_strip_nulls(jsonb_build_object('locked_at', v_lock.locked_at, 'locked_for', v_lock.reason));
    SELECT b.* INTO v_block FROM shield.blocked_tokens b WHERE b.tenant_id = p_tenant_id AND b.token = p_token;
    RETURN QUERY SELECT 2, 'blocklist', CASE WHEN v_block.token IS NULL THEN 'passes' ELSE 'refuses' END, 'token_blocked',
        jsonb_strip_nulls(jsonb_build_object('blocked_at', v_block.blocked_at));

    SELECT p.* INTO v_policy FROM shield.policies p WHERE p.tenant_id = p_tenant_id;
    v_local := shield.local_time(p_at, v_own);
    IF v_local IS NULL THEN
        v_own := NULL;
        v_local := shield.local_time(p_at, v_policy.time_zone);
    END IF;
    v_day := extract(isodow FROM v_local)::int - 1;
    v_minute := v_day * 1440 + extract(hour FROM v_local)::int * 60 + extract(minute FROM v_local)::int;
    v_clock := CASE WHEN v_local IS NULL THEN '{"time_zone": "not known"}' ELSE jsonb_build_object(
        'time_zone', coalesce(v_own, v_policy.time_zone), 'of', CASE WHEN v_own IS NULL THEN 'tenant' ELSE 'customer' END,
        'local', to_char(v_local, 'YYYY-MM-DD HH24:MI')) END;
    RETURN QUERY SELECT 3, 'hours', CASE WHEN v_policy.hours IS NULL THEN 'off'
            WHEN v_minute <@ v_policy.hours::int4multirange THEN 'passes' ELSE 'refuses' END,
        CASE WHEN v_local IS NULL THEN 'zone_unknown' ELSE 'outside_hours' END,
        CASE WHEN v_policy.hours IS NULL THEN '{}' WHEN v_local IS NULL THEN v_clock
            ELSE v_clock || jsonb_build_object('hours', shield.day_hours(v_policy.hours, v_day)) END;
    RETURN QUERY SELECT 4, 'closed_days', CASE WHEN coalesce(cardinality(v_policy.closed_days), 0) = 0 THEN 'off'
            WHEN v_local::date <> ALL (v_policy.closed_days) THEN 'passes' ELSE 'refuses' END,
        CASE WHEN v_local IS NULL THEN 'zone_unknown' ELSE 'closed_day' END,
        CASE WHEN coalesce(cardinality(v_policy.closed_days), 0) = 0 THEN '{}' ELSE v_clock END;

    SELECT m.* INTO v_mark FROM shield.policy_marks m
        WHERE m.tenant_id = p_tenant_id AND m.kind = 'customer' AND m.name = p_token;
    RETURN QUERY SELECT 5, 'gap', CASE WHEN v_policy.gap_s IS NULL THEN 'off'
            WHEN v_mark.used > 0 AND v_mark.last_at > p_at - make_interval(secs => v_policy.gap_s) THEN 'refuses' ELSE 'passes' END,
        'gap', jsonb_strip_nulls(jsonb_build_object('gap_s', v_policy.gap_s,
            'last_call_at', CASE WHEN v_policy.gap_s IS NOT NULL AND v_mark.used > 0 THEN v_mark.last_at END));

    SELECT m.* INTO v_mark FROM shield.policy_marks m
        WHERE m.tenant_id = p_tenant_id AND m.kind = 'agent' AND m.name = p_agent;
    RETURN QUERY SELECT 6, 'agent_per_day', CASE WHEN v_policy.agent_per_day IS NULL THEN 'off'
            WHEN CASE WHEN v_mark.since > p_at - interval '24 hours' THEN v_mark.used ELSE 0 END < v_policy.agent_per_day
            THEN 'passes' ELSE 'refuses' END,
        'agent_day_cap', jsonb_strip_nulls(jsonb_build_object('agent_per_day', v_policy.agent_per_day, 'used',
            CASE WHEN v_policy.agent_per_day IS NULL THEN NULL
                WHEN v_mark.since > p_at - interval '24 hours' THEN v_mark.used ELSE 0 END));
END
$$;
