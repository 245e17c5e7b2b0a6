-- Whether a tenant's tokens are dialled with a dial permission only.
CREATE OR REPLACE FUNCTION shield.permission_required(p_tenant_id int) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT t.requires_permission FROM shield.tenants t WHERE t.id = p_tenant_id), false);
END
$$;
