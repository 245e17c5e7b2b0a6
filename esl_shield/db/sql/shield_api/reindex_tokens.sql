-- Rekeyer: the blind indexes of a batch of tokens under the newest index key, added to those under the key before. A row is
-- added only if the token's ciphertext is still the one its number was read from and the number still is this token's:
-- whoever gave the token another number meanwhile wins. Verdicts as those of reencrypt_tokens.
CREATE OR REPLACE FUNCTION shield_api.reindex_tokens(p_tenant_id int, p_version int, p_after text, p_rows jsonb)
RETURNS TABLE (verdict text, matched int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
-- Joins other than nested loops are off: the planner would read the whole table for a page.
DECLARE
    v_keys record;
    v_added int;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    SELECT k.* INTO v_keys FROM shield.live_keys(p_tenant_id) k;
    IF v_keys.index IS DISTINCT FROM p_version OR v_keys.index_before IS NULL THEN
        RETURN QUERY SELECT 'STALE', 0;
        RETURN;
    END IF;
    WITH given AS MATERIALIZED (
        SELECT r.token, decode(r.before, 'hex') AS before, decode(r.index, 'hex') AS number_index,
            decode(r.previous, 'hex') AS previous
        FROM jsonb_to_recordset(p_rows) AS r (token text, before text, index text, previous text)
    ), locked AS MATERIALIZED (
        SELECT t.token, t.lot, g.number_index, g.previous FROM given g JOIN shield.tokens t ON t.token = g.token
        WHERE t.tenant_id = p_tenant_id AND t.ciphertext = g.before ORDER BY t.token FOR SHARE OF t
    ), added AS (
        INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token, lot)
            SELECT p_tenant_id, l.number_index, p_version, l.token, l.lot FROM locked l
            WHERE (SELECT n.token FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
                AND n.number_index = l.previous AND n.index_version = v_keys.index_before) = l.token
            ORDER BY l.token ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM locked), (SELECT count(*) FROM added) INTO matched, v_added;
    PERFORM shield.note_rekeyed(p_tenant_id, 'reindex', p_version, ARRAY[v_keys.index_before], p_after,
        jsonb_array_length(p_rows), matched, v_added);
    verdict := 'DONE';
    RETURN NEXT;
END
$$;
