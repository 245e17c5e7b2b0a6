-- Administrator: add a tenant's webhook, or change where it posts and which kinds it is told.
-- Answers CREATED, CHANGED, UNCHANGED, UNKNOWN (no such tenant).
CREATE OR REPLACE FUNCTION shield_api.set_webhook(p_tenant text, p_name text, p_url text, p_events text[]) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_events CONSTANT text[] := (SELECT array_agg(DISTINCT e ORDER BY e) FROM unnest(p_events) AS e);
    v_tenant int;
    v_old shield.webhooks;
    v_outcome text;
BEGIN
    SELECT t.id INTO v_tenant FROM shield.tenants t WHERE t.name = p_tenant FOR UPDATE;
    IF v_tenant IS NULL THEN
        RETURN 'UNKNOWN';
    END IF;
    v_old := shield.named_webhook(p_tenant, p_name);
    IF v_old.url = p_url AND v_old.events = v_events THEN
        RETURN 'UNCHANGED';
    END IF;
    INSERT INTO shield.webhooks (tenant_id, name, url, events) VALUES (v_tenant, p_name, p_url, v_events)
        ON CONFLICT (tenant_id, name) DO UPDATE SET url = p_url, events = v_events, failures = 0, paused_until = NULL;
    v_outcome := CASE WHEN v_old.id IS NULL THEN 'CREATED' ELSE 'CHANGED' END;
    PERFORM shield.hook_tenant(v_tenant);
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant, 'webhook.' || lower(v_outcome),
        jsonb_build_object('name', p_name, 'url', p_url, 'events', v_events));
    RETURN v_outcome;
END
$$;
