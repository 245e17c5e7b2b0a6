-- Administrator: one of a tenant's own numbers, whom its callers reach and how many of them are masked in a minute (NULL: no
-- limit). Answers created, changed or unchanged. Raises ES002 (no such tenant), ES007 (it is another tenant's).
CREATE OR REPLACE FUNCTION shield_api.set_did(
    p_tenant text, p_did text, p_destinations text[], p_enabled boolean, p_masks_per_minute int
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int;
    v_before record;
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    IF v_tenant_id IS NULL THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(p_did, 1));
    SELECT d.tenant_id, d.destinations::text[] = p_destinations AND d.enabled = p_enabled
            AND d.masks_per_minute IS NOT DISTINCT FROM p_masks_per_minute AS same
        INTO v_before FROM shield.dids d WHERE d.did = p_did;
    IF v_before.tenant_id <> v_tenant_id THEN
        RAISE EXCEPTION 'the DID is taken' USING ERRCODE = 'ES007';
    END IF;
    IF v_before.same THEN
        RETURN 'unchanged';
    END IF;
    INSERT INTO shield.dids AS d (did, tenant_id, destinations, enabled, masks_per_minute)
        VALUES (p_did, v_tenant_id, p_destinations, p_enabled, p_masks_per_minute)
        ON CONFLICT (did) DO UPDATE SET destinations = excluded.destinations, enabled = excluded.enabled,
            masks_per_minute = excluded.masks_per_minute;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant_id, 'did.set', jsonb_build_object(
        'did', p_did, 'destinations', p_destinations, 'enabled', p_enabled, 'masks_per_minute', p_masks_per_minute));
    RETURN CASE WHEN v_before.tenant_id IS NULL THEN 'created' ELSE 'changed' END;
END
$$;
