-- Seeder: a batch of numbers nobody has seeded, in a third of the time of seed_tokens. True: every row became a token. False:
-- nothing was changed, because some number, token or alias is there already, a token was erased, two rows share one, or an index key is being
-- replaced; seed_tokens then sorts out row by row. Each parameter is a column: 32 bytes an index, ciphertexts of one length,
-- texts joined by commas (no value of ours holds one), '' for none,
-- NULL for none at all; p_place_of counts from 1 into the four arrays.
CREATE OR REPLACE FUNCTION shield_api.seed_batch(
    p_tenant_id int, p_index_version int, p_key_version int, p_indexes bytea, p_tokens text, p_ciphertexts bytea,
    p_aliases text, p_expires text, p_countries text[], p_regions text[], p_time_zones text[], p_line_types text[],
    p_place_of text, p_labels jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_tokens CONSTANT text[] := string_to_array(p_tokens, ',');
    v_aliases CONSTANT text[] := string_to_array(p_aliases, ',', '');
    v_place_of CONSTANT int[] := string_to_array(p_place_of, ',')::int[];
    v_rows CONSTANT int := cardinality(v_tokens);
    v_width CONSTANT int := octet_length(p_ciphertexts) / nullif(v_rows, 0);
    v_space record;
    v_named int;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    SELECT s.tokens, t.token_prefix, t.token_length,
            power(10::numeric, t.token_length - length(t.token_prefix) - 1) / 10000 AS most
        INTO v_space FROM shield.token_space s JOIN shield.tenants t ON t.id = s.tenant_id
        WHERE s.tenant_id = p_tenant_id FOR UPDATE OF s;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    IF v_rows = 0 OR NOT shield.is_settled(p_tenant_id, p_index_version, p_key_version)
            OR v_space.tokens + v_rows > v_space.most
            OR EXISTS (SELECT FROM shield.erasures e WHERE e.tenant_id = p_tenant_id AND e.token = ANY (v_tokens)) THEN
        RETURN false;
    END IF;
    IF octet_length(p_indexes) <> 32 * v_rows OR octet_length(p_ciphertexts) <> v_width * v_rows
            OR cardinality(v_place_of) <> v_rows OR cardinality(v_aliases) <> v_rows
            OR jsonb_array_length(p_labels) <> v_rows
            OR EXISTS (SELECT FROM unnest(v_tokens) u WHERE length(u) <> v_space.token_length
                OR NOT starts_with(u, v_space.token_prefix)) THEN
        RAISE EXCEPTION 'a column is not of the batch, or a token not of the tenant' USING ERRCODE = 'check_violation';
    END IF;
    BEGIN
        INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token)
            SELECT p_tenant_id, substring(p_indexes FROM 32 * (u.at::int - 1) + 1 FOR 32), p_index_version, u.token
            FROM unnest(v_tokens) WITH ORDINALITY AS u (token, at);
        INSERT INTO shield.aliases (tenant_id, alias, token)
            SELECT p_tenant_id, u.alias, u.token FROM unnest(v_aliases, v_tokens) AS u (alias, token)
            WHERE u.alias IS NOT NULL;
        GET DIAGNOSTICS v_named = ROW_COUNT;
        INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version, expires_at,
                country, region, time_zone, line_type, labels)
            SELECT p_tenant_id, u.token, substring(p_ciphertexts FROM v_width * (u.at::int - 1) + 1 FOR v_width),
                p_key_version, u.expires_at::timestamptz, p_countries[u.place], p_regions[u.place],
                p_time_zones[u.place], p_line_types[u.place], coalesce(p_labels -> (u.at::int - 1), '{}')
            FROM unnest(v_tokens, v_place_of, string_to_array(p_expires, ',', '')) WITH ORDINALITY
                AS u (token, place, expires_at, at) WHERE u.at <= v_rows;
    EXCEPTION WHEN unique_violation THEN
        RETURN false;
    END;
    UPDATE shield.token_space SET tokens = tokens + v_rows WHERE tenant_id = p_tenant_id;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'tokens.seeded',
        jsonb_build_object('created', v_rows, 'existing', 0, 'aliases', v_named));
    RETURN true;
END
$$;
