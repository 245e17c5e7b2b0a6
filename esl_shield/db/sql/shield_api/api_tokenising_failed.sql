-- Seeder, asked over HTTP: give back the idempotency key a request reserved and did nothing with, or nothing it could
-- answer, so that it, or a mended one, may have it at once. Verdicts of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_tokenising_failed(p_key bytea, p_name bytea, p_request bytea)
RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'tokens:write');
    IF v_by.verdict = 'OK' THEN
        DELETE FROM shield.api_answers a WHERE a.tenant_id = v_by.tenant_id AND a.name = p_name AND a.request = p_request
            AND a.answer = 'null';
    END IF;
    RETURN QUERY SELECT v_by.verdict;
END
$$;
