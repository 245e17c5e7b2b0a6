-- Administrator: a number is no longer the tenant's; its callers are answered 404. False when the tenant has no such DID.
CREATE OR REPLACE FUNCTION shield_api.remove_did(p_tenant text, p_did text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int;
BEGIN
    DELETE FROM shield.dids d USING shield.tenants t
        WHERE t.id = d.tenant_id AND t.name = p_tenant AND d.did = p_did RETURNING t.id INTO v_tenant_id;
    IF v_tenant_id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        VALUES (v_tenant_id, 'did.removed', jsonb_build_object('did', p_did));
    RETURN true;
END
$$;
