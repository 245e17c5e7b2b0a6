-- Administrator: a tenant's policy. p_changes names what changes, {hours, time_zone, closed_days, gap_s, agent_per_day,
-- wrong_dials, wrong_dials_s}; null takes a rule away (wrong_dials: nobody is locked; wrong_dials_s: 300 again), what is
-- not named stays. Answers set, unchanged or, for an unknown tenant, NULL. Raises 22023 for an unknown time zone, 23514
-- and 22xxx for what is no value of a rule.
CREATE OR REPLACE FUNCTION shield_api.set_policy(p_tenant text, p_changes jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id int;
    v_before shield.policies;
    v_after shield.policies;
    v_limits record;
    v_wrong_dials int;
    v_wrong_dials_s int;
    v_changed boolean;
BEGIN
    SELECT t.id, t.wrong_dials, t.wrong_dials_s INTO v_limits FROM shield.tenants t WHERE t.name = p_tenant FOR UPDATE;
    v_id := v_limits.id;
    IF v_id IS NULL THEN
        RETURN NULL;
    END IF;
    IF p_changes ->> 'time_zone' IS NOT NULL AND shield.local_time(now(), p_changes ->> 'time_zone') IS NULL THEN
        RAISE EXCEPTION 'no such time zone' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT p.* INTO v_before FROM shield.policies p WHERE p.tenant_id = v_id;
    v_after := v_before;
    v_after.tenant_id := v_id;
    v_after.closed_days := coalesce(v_before.closed_days, '{}');
    v_after.hours := CASE WHEN p_changes ? 'hours' THEN (p_changes ->> 'hours')::int4multirange ELSE v_before.hours END;
    v_after.time_zone := CASE WHEN p_changes ? 'time_zone' THEN p_changes ->> 'time_zone' ELSE v_before.time_zone END;
    v_after.gap_s := CASE WHEN p_changes ? 'gap_s' THEN (p_changes ->> 'gap_s')::int ELSE v_before.gap_s END;
    v_after.agent_per_day := CASE WHEN p_changes ? 'agent_per_day' THEN (p_changes ->> 'agent_per_day')::int
        ELSE v_before.agent_per_day END;
    IF p_changes ? 'closed_days' THEN
        v_after.closed_days := coalesce((SELECT array_agg(d::date ORDER BY d::date)
            FROM jsonb_array_elements_text(nullif(p_changes -> 'closed_days', 'null')) d), '{}');
    END IF;
    v_wrong_dials := CASE WHEN p_changes ? 'wrong_dials' THEN (p_changes ->> 'wrong_dials')::int ELSE v_limits.wrong_dials END;
    v_wrong_dials_s := CASE WHEN p_changes ? 'wrong_dials_s' THEN coalesce((p_changes ->> 'wrong_dials_s')::int, 300)
        ELSE v_limits.wrong_dials_s END;
    v_changed := (v_before.hours, v_before.time_zone, coalesce(v_before.closed_days, '{}'), v_before.gap_s,
            v_before.agent_per_day, v_limits.wrong_dials, v_limits.wrong_dials_s)
        IS DISTINCT FROM (v_after.hours, v_after.time_zone, v_after.closed_days, v_after.gap_s, v_after.agent_per_day,
            v_wrong_dials, v_wrong_dials_s);
    IF NOT v_changed THEN
        RETURN 'unchanged';
    END IF;
    UPDATE shield.tenants t SET wrong_dials = v_wrong_dials, wrong_dials_s = v_wrong_dials_s WHERE t.id = v_id;
    DELETE FROM shield.policies p WHERE p.tenant_id = v_id;
    IF num_nonnulls(v_after.hours, v_after.time_zone, v_after.gap_s, v_after.agent_per_day) > 0
            OR cardinality(v_after.closed_days) > 0 THEN
        INSERT INTO shield.policies (tenant_id, hours, time_zone, closed_days, gap_s, agent_per_day) VALUES (v_id,
            v_after.hours, v_after.time_zone, v_after.closed_days, v_after.gap_s, v_after.agent_per_day);
    END IF;
    PERFORM shield.set_guarded(v_id);
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_id, 'policy.set', jsonb_build_object(
        'hours', v_after.hours::text, 'time_zone', v_after.time_zone, 'closed_days', cardinality(v_after.closed_days),
        'gap_s', v_after.gap_s, 'agent_per_day', v_after.agent_per_day, 'wrong_dials', v_wrong_dials,
        'wrong_dials_s', v_wrong_dials_s));
    RETURN 'set';
END
$$;
