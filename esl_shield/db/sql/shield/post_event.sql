-- Notes an event for every webhook of the tenant that is on and wants its kind. The outbox is written in the transaction of
-- what happened, so that neither is there without the other. Its subject, of which events go out in order, is the call, or the
-- agent of an event of no call.
CREATE OR REPLACE FUNCTION shield.post_event(p_tenant_id int, p_call uuid, p_kind text, p_data jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO shield.webhook_events (tenant_id, webhook, subject, kind, body)
        SELECT p_tenant_id, w.id, coalesce(p_call, md5('agent ' || (p_data ->> 'agent'))::uuid), p_kind,
            jsonb_build_object('type', p_kind, 'timestamp', clock_timestamp(), 'tenant',
                (SELECT t.name FROM shield.tenants t WHERE t.id = p_tenant_id), 'data', p_data)
        FROM shield.webhooks w WHERE w.tenant_id = p_tenant_id AND w.enabled AND p_kind = ANY (w.events)
$$;
