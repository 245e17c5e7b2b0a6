-- Resolver: whether a number, by its blind index under each list's keys, is on one of them; then the call's refusal is in the
-- audit trail, with the tenant whose list it was.
CREATE OR REPLACE FUNCTION shield_api.refuse_listed(p_call uuid, p_tenants int[], p_indexes bytea[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_call record;
    v_list text;
BEGIN
    SELECT t.name INTO v_list FROM unnest(p_tenants, p_indexes) AS a (tenant_id, number_index)
        JOIN shield.do_not_call n ON n.tenant_id = a.tenant_id AND n.number_index = a.number_index
        JOIN shield.tenants t ON t.id = n.tenant_id LIMIT 1;
    IF v_list IS NULL THEN
        RETURN false;
    END IF;
    SELECT c.tenant_id, c.agent, c.token INTO v_call FROM shield.calls c
        WHERE c.id = p_call AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days';
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (
        v_call.tenant_id, 'permit.refused_number', v_call.agent, v_call.token, p_call,
        jsonb_build_object('reason', 'do_not_call', 'list', v_list));
    RETURN true;
END
$$;
