-- Steward: an agent who was locked may call again. Verdicts: UNLOCKED, UNCHANGED (not locked), UNKNOWN (no such tenant),
-- REFUSED (the reason is unfit).
CREATE OR REPLACE FUNCTION shield_api.unlock_agent(p_tenant text, p_agent text, p_reason text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id int;
    v_lock shield.agent_locks;
BEGIN
    p_agent := lower(p_agent);
    SELECT t.id INTO v_id FROM shield.tenants t WHERE t.name = p_tenant;
    IF v_id IS NULL THEN
        RETURN 'UNKNOWN';
    ELSIF (length(btrim(p_reason)) BETWEEN 1 AND 300 AND p_reason !~ '[[:cntrl:]]') IS NOT TRUE THEN
        RETURN 'REFUSED';
    END IF;
    -- The tenant's row first, as whoever sets its policy.
    PERFORM FROM shield.tenants t WHERE t.id = v_id FOR UPDATE;
    DELETE FROM shield.agent_locks l WHERE l.tenant_id = v_id AND l.agent = p_agent RETURNING l.* INTO v_lock;
    IF v_lock.agent IS NULL THEN
        RETURN 'UNCHANGED';
    END IF;
    DELETE FROM shield.wrong_dials d WHERE d.tenant_id = v_id AND d.agent = p_agent;
    PERFORM shield.set_guarded(v_id);
    INSERT INTO shield.audit_events (tenant_id, kind, agent, detail) VALUES (v_id, 'agent.unlocked', v_lock.agent,
        jsonb_build_object('why', btrim(p_reason), 'locked_for', v_lock.reason, 'locked_at', v_lock.locked_at));
    PERFORM shield.post_event(v_id, NULL, 'agent.unlocked', jsonb_build_object('agent', v_lock.agent,
        'reason', v_lock.reason, 'locked_at', v_lock.locked_at));
    RETURN 'UNLOCKED';
END
$$;
