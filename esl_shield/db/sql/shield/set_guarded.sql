-- Says anew whether a tenant's calls have more to be asked than caps.
CREATE OR REPLACE FUNCTION shield.set_guarded(p_tenant_id int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In turn with whoever locks an agent, who holds the tenant's row.
    PERFORM FROM shield.tenants t WHERE t.id = p_tenant_id FOR UPDATE;
    UPDATE shield.tenants t SET guarded = EXISTS (SELECT FROM shield.policies p WHERE p.tenant_id = t.id)
            OR EXISTS (SELECT FROM shield.agent_locks l WHERE l.tenant_id = t.id)
            OR EXISTS (SELECT FROM shield.blocked_tokens b WHERE b.tenant_id = t.id)
        WHERE t.id = p_tenant_id;
END
$$;
