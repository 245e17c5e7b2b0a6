-- Why a guarded tenant's call may not be made, with the rule that says so; a row of NULLs when it may. p_reason is what was
-- found before and stands, unless the agent is locked: such a one is told the same whatever was dialled, or the answers
-- would still tell tokens from guesses. What the rules count by stays locked to the end of the transaction, the customer
-- before the agent, so that of two calls at the same moment the second sees the first.
CREATE OR REPLACE FUNCTION shield.judge_call(p_tenant_id int, p_agent text, p_token text, p_reason text)
RETURNS TABLE (reason text, rule jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_policy shield.policies;
    v_now timestamptz := clock_timestamp();
BEGIN
    IF p_reason IS NULL THEN
        SELECT p.* INTO v_policy FROM shield.policies p WHERE p.tenant_id = p_tenant_id;
        IF v_policy.gap_s IS NOT NULL THEN
            PERFORM shield.hold_mark(p_tenant_id, 'customer', p_token);
        END IF;
        IF v_policy.agent_per_day IS NOT NULL THEN
            PERFORM shield.hold_mark(p_tenant_id, 'agent', p_agent);
        END IF;
        v_now := clock_timestamp();
    END IF;
    RETURN QUERY SELECT j.reason, jsonb_build_object('rule', j.rule) || j.detail
        FROM shield.judge_rules(p_tenant_id, p_agent, p_token, v_now) j
        WHERE j.state = 'refuses' AND (p_reason IS NULL OR j.rule = 'agent_lock' AND p_agent IS NOT NULL)
        ORDER BY j.place LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY SELECT p_reason, NULL::jsonb;
    END IF;
END
$$;
