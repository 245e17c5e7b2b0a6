-- Where a steward's act on a token begins: the tenant, and the token as it is named, its row locked. The verdict is UNKNOWN
-- or REFUSED (case or reason is unfit) when nothing may be done, else NULL.
CREATE OR REPLACE FUNCTION shield.for_case(
    p_tenant text, p_token text, p_alias text, p_case text, p_reason text,
    OUT tenant_id int, OUT token text, OUT verdict text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT t.id INTO tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    token := shield.named_token(tenant_id, p_token, p_alias);
    IF token IS NULL THEN
        verdict := 'UNKNOWN';
    ELSIF NOT shield.case_text(p_case, p_reason) THEN
        verdict := 'REFUSED';
    END IF;
END
$$;
