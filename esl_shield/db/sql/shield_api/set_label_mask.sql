-- Administrator: how one label of a tenant's tokens is shown; p_pattern NULL: not at all, as a label nobody spoke of. Answers
-- what it did (set, removed, unchanged), NULL when the tenant is unknown.
CREATE OR REPLACE FUNCTION shield_api.set_label_mask(p_tenant text, p_label text, p_pattern text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int;
    v_done text;
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    IF v_tenant_id IS NULL THEN
        RETURN NULL;
    ELSIF p_pattern IS NULL THEN
        DELETE FROM shield.label_masks m WHERE m.tenant_id = v_tenant_id AND m.label = p_label;
        v_done := 'removed';
    ELSE
        INSERT INTO shield.label_masks AS m (tenant_id, label, pattern) VALUES (v_tenant_id, p_label, p_pattern)
            ON CONFLICT (tenant_id, label) DO UPDATE SET pattern = excluded.pattern WHERE m.pattern <> excluded.pattern;
        v_done := 'set';
    END IF;
    IF NOT FOUND THEN
        RETURN 'unchanged';
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant_id, 'tenant.mask_set',
        jsonb_build_object('label', p_label, 'pattern', p_pattern));
    RETURN v_done;
END
$$;
