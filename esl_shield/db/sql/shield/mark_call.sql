-- Counts a call that is allowed for the rules of its tenant's policy; judge_call holds the rows.
CREATE OR REPLACE FUNCTION shield.mark_call(p_tenant_id int, p_agent text, p_token text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
BEGIN
    UPDATE shield.policy_marks m SET last_at = v_now,
            since = CASE WHEN m.since <= v_now - interval '24 hours' OR m.used = 0 THEN v_now ELSE m.since END,
            used = CASE WHEN m.since <= v_now - interval '24 hours' THEN 1 ELSE m.used + 1 END
        FROM shield.policies p WHERE p.tenant_id = p_tenant_id AND m.tenant_id = p_tenant_id
        AND (p.gap_s IS NOT NULL AND m.kind = 'customer' AND m.name = p_token
            OR p.agent_per_day IS NOT NULL AND m.kind = 'agent' AND m.name = p_agent);
END
$$;
