-- Counts a token that was dialled and is none; at the tenant's limit, or at half of it of neighbours in a row, the agent is
-- locked. The digits are kept nowhere, because they may be a number: of all but the last three of a well-formed token 16
-- bits of a hash stay, which are the same for a neighbour and too few to find digits by. Called for refusals alone.
CREATE OR REPLACE FUNCTION shield.note_wrong_dial(p_tenant_id int, p_agent text, p_token text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_place CONSTANT int := coalesce(hashtextextended(left(p_token, -3), p_tenant_id) & 65535, -1);
    v_limit record;
    v_dials shield.wrong_dials;
    v_reason text;
BEGIN
    SELECT t.wrong_dials, make_interval(secs => t.wrong_dials_s) AS within INTO v_limit
        FROM shield.tenants t WHERE t.id = p_tenant_id;
    IF v_limit.wrong_dials IS NULL OR p_agent IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM shield.wrong_dials d WHERE (d.tenant_id, d.agent) IN (SELECT o.tenant_id, o.agent FROM shield.wrong_dials o
        WHERE o.tenant_id = p_tenant_id AND o.since <= v_now - v_limit.within LIMIT 10 FOR UPDATE SKIP LOCKED);
    INSERT INTO shield.wrong_dials AS d (tenant_id, agent, since, wrong, near, place)
        VALUES (p_tenant_id, p_agent, v_now, 1, 0, v_place)
        ON CONFLICT (tenant_id, agent) DO UPDATE SET
            since = CASE WHEN d.since <= v_now - v_limit.within THEN v_now ELSE d.since END,
            wrong = CASE WHEN d.since <= v_now - v_limit.within THEN 1 ELSE d.wrong + 1 END,
            near = CASE WHEN d.since > v_now - v_limit.within AND d.place = v_place AND v_place >= 0 THEN d.near + 1 ELSE 0 END,
            place = v_place
        RETURNING d.* INTO v_dials;
    v_reason := CASE WHEN v_dials.near >= greatest(v_limit.wrong_dials / 2, 1) THEN 'sequential_tokens'
        WHEN v_dials.wrong >= v_limit.wrong_dials THEN 'wrong_tokens' END;
    IF v_reason IS NULL THEN
        RETURN;
    END IF;
    -- The lock's foreign key waits for whoever says anew meanwhile whether the tenant is guarded (FOR UPDATE of its row), so that
    -- the flag is read after that; one who comes later waits for this transaction and sees the lock.
    INSERT INTO shield.agent_locks (tenant_id, agent, reason) VALUES (p_tenant_id, p_agent, v_reason) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        UPDATE shield.tenants t SET guarded = true WHERE t.id = p_tenant_id AND NOT t.guarded;
        INSERT INTO shield.audit_events (tenant_id, kind, agent, detail) VALUES (p_tenant_id, 'agent.locked', p_agent,
            jsonb_build_object('reason', v_reason, 'wrong', v_dials.wrong, 'since', v_dials.since));
        PERFORM shield.post_event(p_tenant_id, NULL, 'agent.locked', jsonb_build_object('agent', p_agent,
            'reason', v_reason, 'wrong', v_dials.wrong, 'since', v_dials.since));
        DELETE FROM shield.wrong_dials d WHERE d.tenant_id = p_tenant_id AND d.agent = p_agent;
    END IF;
END
$$;
