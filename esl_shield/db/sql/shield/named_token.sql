-- The token of a tenant that is named by itself or by its alias; both given, both must fit. Its row is locked, so whatever
-- else would hold, erase or replace it comes before or after. NULL when there is none.
CREATE OR REPLACE FUNCTION shield.named_token(p_tenant_id int, p_token text, p_alias text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_token text := p_token;
BEGIN
    IF p_alias IS NOT NULL THEN
        SELECT a.token INTO v_token FROM shield.aliases a WHERE a.tenant_id = p_tenant_id AND a.alias = p_alias
            AND (p_token IS NULL OR a.token = p_token);
    END IF;
    SELECT k.token INTO v_token FROM shield.tokens k WHERE k.tenant_id = p_tenant_id AND k.token = v_token FOR UPDATE;
    RETURN v_token;
END
$$;
