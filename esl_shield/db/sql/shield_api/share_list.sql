-- Administrator: whether a tenant's do-not-call list holds for every tenant. Answers set, unchanged or, for an unknown tenant,
-- NULL.
CREATE OR REPLACE FUNCTION shield_api.share_list(p_tenant text, p_for_all boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant record;
BEGIN
    SELECT t.id, t.list_for_all INTO v_tenant FROM shield.tenants t WHERE t.name = p_tenant FOR UPDATE;
    IF v_tenant.id IS NULL THEN
        RETURN NULL;
    ELSIF v_tenant.list_for_all = p_for_all THEN
        RETURN 'unchanged';
    END IF;
    UPDATE shield.tenants t SET list_for_all = p_for_all WHERE t.id = v_tenant.id;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant.id, 'do_not_call.shared',
        jsonb_build_object('for_all', p_for_all));
    RETURN 'set';
END
$$;
