-- Takes a token's number away from wherever it could still be found or fetched: index rows, permits, requests that name it
-- by its index. Answers how many index rows and permits that were. The caller holds the token's row.
-- A number's index rows have the lot of its token, or none as it has none: whoever writes one copies it.
CREATE OR REPLACE FUNCTION shield.drop_number(p_tenant_id int, p_token text)
RETURNS TABLE (indexes int, permits int)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_lot CONSTANT int := (SELECT k.lot FROM shield.tokens k WHERE k.tenant_id = p_tenant_id AND k.token = p_token);
BEGIN
    WITH alone AS (
        DELETE FROM shield.number_refs n WHERE v_lot IS NULL AND n.lot IS NULL
            AND n.tenant_id = p_tenant_id AND n.token = p_token RETURNING n.number_index, n.index_version
    ), of_lot AS (
        DELETE FROM shield.number_refs n WHERE n.lot = v_lot
            AND n.tenant_id = p_tenant_id AND n.token = p_token RETURNING n.number_index, n.index_version
    ), gone AS (
        SELECT a.number_index, a.index_version FROM alone a UNION ALL SELECT o.number_index, o.index_version FROM of_lot o
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
