-- Rekeyer: new ciphertexts for a batch of tokens, each only if its ciphertext is still the one it was made from; whoever
-- changed it meanwhile wins. Rows are locked in the tokens' order. Verdict DONE with how many were as read, or STALE: the
-- version is not the newest any more.
CREATE OR REPLACE FUNCTION shield_api.reencrypt_tokens(p_tenant_id int, p_version int, p_after text, p_rows jsonb)
RETURNS TABLE (verdict text, matched int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
-- Joins other than nested loops are off: the planner would read the whole table for a page.
DECLARE
    v_before int[];
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    IF (SELECT k.data FROM shield.live_keys(p_tenant_id) k) IS DISTINCT FROM p_version THEN
        RETURN QUERY SELECT 'STALE', 0;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM jsonb_to_recordset(p_rows) AS r (after text)
            WHERE substr(decode(r.after, 'hex'), 3, 4) IS DISTINCT FROM int4send(p_version)) THEN
        RAISE EXCEPTION 'a ciphertext is of another key version' USING ERRCODE = 'check_violation';
    END IF;
    -- Decoded in a step of its own: decode() is not leakproof, and would keep row-level security from using the index.
    WITH given AS MATERIALIZED (
        SELECT r.token, decode(r.before, 'hex') AS before, decode(r.after, 'hex') AS after
        FROM jsonb_to_recordset(p_rows) AS r (token text, before text, after text)
    ), locked AS MATERIALIZED (
        SELECT t.token, t.key_version, g.after FROM given g JOIN shield.tokens t ON t.token = g.token
        WHERE t.tenant_id = p_tenant_id AND t.ciphertext = g.before ORDER BY t.token FOR NO KEY UPDATE OF t
    ), changed AS (
        UPDATE shield.tokens t SET ciphertext = l.after, key_version = p_version FROM locked l
        WHERE t.tenant_id = p_tenant_id AND t.token = l.token
    )
    SELECT count(*), coalesce(array_agg(DISTINCT l.key_version), '{}') INTO matched, v_before FROM locked l;
    PERFORM shield.note_rekeyed(p_tenant_id, 'reencrypt', p_version, v_before, p_after, jsonb_array_length(p_rows),
        matched, matched);
    verdict := 'DONE';
    RETURN NEXT;
END
$$;
