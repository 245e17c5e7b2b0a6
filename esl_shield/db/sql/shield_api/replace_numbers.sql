-- Seeder: tokens that have existed for long get new numbers (as blind index and ciphertext); what was kept of the old ones is
-- gone, permits that were open for them too. While an index key is being replaced each row has its index under the key
-- before too, as previous. Labels that are given replace those of their name, an end that is given
-- replaces the end. One batch is one transaction, in turn with imports.
-- Outcomes: replaced, unchanged (it has this number), number_taken (another token has it), held (a legal hold stands), unknown.
CREATE OR REPLACE FUNCTION shield_api.replace_numbers(
    p_tenant_id int, p_index_version int, p_key_version int, p_rows jsonb
) RETURNS TABLE (ord int, token text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_row record;
    v_before int;
    v_index bytea;
    v_index_before bytea;
    v_owner text;
    v_dropped record;
BEGIN
    v_before := shield.begin_batch(p_tenant_id, p_index_version, p_key_version, p_rows);
    -- In the tokens' order, as reindex_tokens and reencrypt_tokens lock them: else each could wait for the other.
    PERFORM FROM shield.tokens k WHERE k.tenant_id = p_tenant_id
        AND k.token = ANY (ARRAY(SELECT r.token FROM jsonb_to_recordset(p_rows) AS r (token text)))
        ORDER BY k.token FOR NO KEY UPDATE;
    FOR v_row IN SELECT r.* FROM jsonb_to_recordset(p_rows) AS r (ord int, index text, previous text, token text, ciphertext text,
            expires_at timestamptz, country text, region text, time_zone text, line_type text, labels jsonb) LOOP
        ord := v_row.ord;
        v_index := decode(v_row.index, 'hex');
        token := shield.named_token(p_tenant_id, v_row.token, NULL);
        SELECT n.token INTO v_owner FROM shield.number_refs n
            WHERE n.tenant_id = p_tenant_id AND n.number_index = v_index AND n.index_version = p_index_version;
        IF v_owner IS NULL AND v_before IS NOT NULL THEN
            v_index_before := decode(v_row.previous, 'hex');
            SELECT n.token INTO v_owner FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
                AND n.number_index = v_index_before AND n.index_version = v_before;
        END IF;
        outcome := CASE
            WHEN token IS NULL THEN 'unknown'
            WHEN v_owner = token THEN 'unchanged'
            WHEN v_owner IS NOT NULL THEN 'number_taken'
            WHEN shield.is_held(p_tenant_id, token) THEN 'held'
            ELSE 'replaced'
        END;
        IF outcome IN ('replaced', 'unchanged') THEN
            UPDATE shield.tokens k SET labels = k.labels || coalesce(v_row.labels, '{}'),
                    expires_at = coalesce(v_row.expires_at, k.expires_at)
                WHERE k.tenant_id = p_tenant_id AND k.token = v_row.token
                AND (v_row.expires_at IS DISTINCT FROM NULL OR coalesce(v_row.labels, '{}') <> '{}');
        END IF;
        IF outcome = 'replaced' THEN
            SELECT * INTO v_dropped FROM shield.drop_number(p_tenant_id, token);
            INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token, lot)
                SELECT p_tenant_id, v_index, p_index_version, k.token, k.lot FROM shield.tokens k
                WHERE k.tenant_id = p_tenant_id AND k.token = replace_numbers.token;
            UPDATE shield.tokens k SET ciphertext = decode(v_row.ciphertext, 'hex'), key_version = p_key_version,
                    country = v_row.country, region = v_row.region, time_zone = v_row.time_zone, line_type = v_row.line_type
                WHERE k.tenant_id = p_tenant_id AND k.token = v_row.token;
            INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (p_tenant_id, 'token.replaced', token,
                jsonb_build_object('indexes', v_dropped.indexes, 'permits', v_dropped.permits));
        ELSIF outcome <> 'unchanged' THEN
            INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (p_tenant_id, 'token.replace_refused',
                token, jsonb_build_object('reason', outcome));
        END IF;
        token := coalesce(token, v_row.token);
        RETURN NEXT;
    END LOOP;
END
$$;
