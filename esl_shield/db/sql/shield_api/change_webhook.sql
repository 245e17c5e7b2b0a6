-- Administrator: p_what is enable, disable (what waits is kept, nothing is noted), rotate (a new secret; for a day the old
-- one signs too), remove (with all that waits), test (one event of the kind webhook.test).
-- Answers DONE, UNCHANGED, UNKNOWN.
CREATE OR REPLACE FUNCTION shield_api.change_webhook(p_tenant text, p_name text, p_what text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hook CONSTANT shield.webhooks := shield.named_webhook(p_tenant, p_name);
BEGIN
    IF v_hook.id IS NULL THEN
        RETURN 'UNKNOWN';
    ELSIF p_what IN ('enable', 'disable') AND v_hook.enabled = (p_what = 'enable') THEN
        RETURN 'UNCHANGED';
    ELSIF p_what IN ('enable', 'disable') THEN
        UPDATE shield.webhooks w SET enabled = p_what = 'enable', failures = 0, paused_until = NULL WHERE w.id = v_hook.id;
    ELSIF p_what = 'rotate' THEN
        UPDATE shield.webhooks w SET secret_version = secret_version + 1, rotated_at = now() WHERE w.id = v_hook.id;
    ELSIF p_what = 'remove' THEN
        DELETE FROM shield.webhooks w WHERE w.id = v_hook.id;
    ELSIF p_what = 'test' THEN
        INSERT INTO shield.webhook_events (tenant_id, webhook, kind, body) VALUES (v_hook.tenant_id, v_hook.id,
            'webhook.test', jsonb_build_object('type', 'webhook.test', 'timestamp', clock_timestamp(), 'tenant', p_tenant,
            'data', jsonb_build_object('webhook', p_name)));
    ELSE
        RAISE EXCEPTION 'nothing of this name is done to webhooks' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM shield.hook_tenant(v_hook.tenant_id);
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        VALUES (v_hook.tenant_id, 'webhook.' || p_what, jsonb_build_object('name', p_name));
    RETURN 'DONE';
END
$$;
