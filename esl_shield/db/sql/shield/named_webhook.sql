-- A tenant's webhook by its name, locked; a row of NULLs when there is none.
CREATE OR REPLACE FUNCTION shield.named_webhook(p_tenant text, p_name text) RETURNS shield.webhooks
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w FROM shield.webhooks w JOIN shield.tenants t ON t.id = w.tenant_id
        WHERE t.name = p_tenant AND w.name = p_name FOR UPDATE OF w
$$;
