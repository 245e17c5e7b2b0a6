-- Masker: whose DID this is, and what masking its callers needs, as seeding_tenant answers it. No row for a DID that is
-- unknown, disabled or of a tenant this login does not see.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'shield_api'::pg_catalog.regnamespace
            AND p.proname = 'masking_tenant' AND NOT 'keys' = ANY (p.proargnames)) THEN
        DROP FUNCTION shield_api.masking_tenant;
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION shield_api.masking_tenant(p_did text)
RETURNS TABLE (tenant text, tenant_id int, region text, token_prefix text, token_length int, keys jsonb)
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
