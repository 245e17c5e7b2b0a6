-- Takes a token's number away from wherever it could still be found or fetched: index rows, permits, requests that name it
-- by its index. Answers how many index rows and permits that were. The caller holds the token's row.
CREATE OR REPLACE FUNCTION shield.drop_number(p_tenant_id int, p_token text)
RETURNS TABLE (indexes int, permits int)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    WITH gone AS (
        DELETE FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id AND n.token = p_token
            RETURNING n.number_index, n.index_version
    ), asked AS (
        UPDATE shield.reveals r SET number_index = NULL FROM gone g
            WHERE r.tenant_id = p_tenant_id AND r.number_index = g.number_index AND r.index_version = g.index_version
    )
    SELECT count(*) INTO indexes FROM gone;
    DELETE FROM shield.permits m WHERE m.tenant_id = p_tenant_id AND m.token = p_token;
    GET DIAGNOSTICS permits = ROW_COUNT;
    RETURN NEXT;
END
$$;
