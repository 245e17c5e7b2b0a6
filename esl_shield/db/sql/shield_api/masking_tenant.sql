-- Masker: whose DID this is, and what masking its callers needs, the newest keys (wrapped) included. No row for a DID that
-- is unknown, disabled or of a tenant this login does not see.
CREATE OR REPLACE FUNCTION shield_api.masking_tenant(p_did text)
RETURNS TABLE (tenant text, tenant_id int, region text, token_prefix text, token_length int, data_key_version int,
    data_key_wrapped bytea, index_key_version int, index_key_wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant text;
BEGIN
    SELECT t.name INTO v_tenant FROM shield.dids d JOIN shield.tenants t ON t.id = d.tenant_id
        WHERE d.did = p_did AND d.enabled;
    RETURN QUERY SELECT v_tenant, s.* FROM shield_api.seeding_tenant(v_tenant) s;
END
$$;
