-- Says in the tenant's row whether any webhook that is on wants events of calls, so that calls of others pay nothing.
CREATE OR REPLACE FUNCTION shield.hook_tenant(p_tenant_id int) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE shield.tenants t SET hooked = h.hooked
        FROM (SELECT EXISTS (SELECT FROM shield.webhooks w, unnest(w.events) AS e (kind)
            WHERE w.tenant_id = p_tenant_id AND w.enabled AND e.kind ^@ 'call.') AS hooked) h
        WHERE t.id = p_tenant_id AND t.hooked <> h.hooked
$$;
