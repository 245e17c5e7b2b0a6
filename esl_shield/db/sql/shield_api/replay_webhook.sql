-- Administrator: post again what was given up: one event (p_id), or all of a webhook's (NULL). Answers how many; NULL when
-- there is no such webhook.
CREATE OR REPLACE FUNCTION shield_api.replay_webhook(p_tenant text, p_name text, p_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hook CONSTANT shield.webhooks := shield.named_webhook(p_tenant, p_name);
    v_count bigint;
BEGIN
    IF v_hook.id IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE shield.webhook_events e SET dead_at = NULL, attempts = 0, next_at = clock_timestamp(), since = clock_timestamp()
        WHERE e.webhook = v_hook.id AND e.dead_at IS NOT NULL AND (p_id IS NULL OR e.id = p_id);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        VALUES (v_hook.tenant_id, 'webhook.replay', jsonb_build_object('name', p_name, 'events', v_count));
    RETURN v_count;
END
$$;
