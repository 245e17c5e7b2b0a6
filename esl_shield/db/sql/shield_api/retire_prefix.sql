-- Administrator: from this transaction's end on no token of this prefix is called or decrypted; its row stays, so that the
-- prefix is never given another meaning. Verdicts: RETIRED, ALREADY, UNKNOWN.
CREATE OR REPLACE FUNCTION shield_api.retire_prefix(p_tenant text, p_prefix text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_prefix record;
BEGIN
    LOCK TABLE shield.tenants IN SHARE ROW EXCLUSIVE MODE;
    SELECT p.tenant_id, p.retired_at INTO v_prefix FROM shield.token_prefixes p
        JOIN shield.tenants t ON t.id = p.tenant_id WHERE t.name = p_tenant AND p.prefix = p_prefix;
    IF v_prefix.tenant_id IS NULL OR v_prefix.retired_at IS NOT NULL THEN
        RETURN CASE WHEN v_prefix.tenant_id IS NULL THEN 'UNKNOWN' ELSE 'ALREADY' END;
    END IF;
    UPDATE shield.token_prefixes p SET retired_at = clock_timestamp() WHERE p.prefix = p_prefix;
    UPDATE shield.tenants t SET rowless = EXISTS (SELECT FROM shield.token_prefixes p
        WHERE p.tenant_id = t.id AND p.retired_at IS NULL) WHERE t.id = v_prefix.tenant_id;
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        VALUES (v_prefix.tenant_id, 'prefix.retired', jsonb_build_object('prefix', p_prefix));
    RETURN 'RETIRED';
END
$$;
