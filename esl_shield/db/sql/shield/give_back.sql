-- Undoes what take_call counted for a call that a later cap refused; a NULL cap was never counted.
CREATE OR REPLACE FUNCTION shield.give_back(
    p_tenant_id int, p_token text, p_token_per_day int, p_agent text, p_agent_per_hour int
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_token_per_day IS NOT NULL THEN
        UPDATE shield.token_usage SET used = used - 1 WHERE tenant_id = p_tenant_id AND token = p_token AND used > 0;
    END IF;
    IF p_agent_per_hour IS NOT NULL THEN
        UPDATE shield.agent_usage SET used = used - 1 WHERE tenant_id = p_tenant_id AND agent = p_agent AND used > 0;
    END IF;
END
$$;
