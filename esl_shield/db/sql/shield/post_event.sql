-- Notes an event for every webhook of the tenant that is on and wants its kind. The outbox is written in the transaction of
-- what happened, so that neither is there without the other.
CREATE OR REPLACE FUNCTION shield.post_event(p_tenant_id int, p_call uuid, p_kind text, p_data jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO shield.webhook_events (tenant_id, webhook, call, kind, body)
        SELECT p_tenant_id, w.id, p_call, p_kind, jsonb_build_object('type', p_kind, 'timestamp', clock_timestamp(),
            'tenant', (SELECT t.name FROM shield.tenants t WHERE t.id = p_tenant_id), 'data', p_data)
        FROM shield.webhooks w WHERE w.tenant_id = p_tenant_id AND w.enabled AND p_kind = ANY (w.events)
$$;
