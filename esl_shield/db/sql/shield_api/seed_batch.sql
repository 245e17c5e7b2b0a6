-- Seeder: a batch of numbers nobody has seeded, in a third of the time of seed_tokens. True: every row became a token. False:
-- nothing was changed, because some number, token or alias is there already, a token was erased, two rows share one, or an index key is being
-- replaced; seed_tokens then sorts out row by row. Each parameter is a column: 32 bytes an index, ciphertexts of one length,
-- texts joined by commas (no value of ours holds one), '' for none,
-- NULL for none at all; p_place_of counts from 1 into the four arrays. Values become their domains once, here, and not once
-- for each table: checks were a fifth of an import. Rows go in in the order of an index: one page of it takes several.
-- Every 32 rows are a lot: drop_number says what for.
CREATE OR REPLACE FUNCTION shield_api.seed_batch(
    p_tenant_id int, p_index_version int, p_key_version int, p_indexes bytea, p_tokens text, p_ciphertexts bytea,
    p_aliases text, p_expires text, p_countries text[], p_regions text[], p_time_zones text[], p_line_types text[],
    p_place_of text, p_labels jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_tokens CONSTANT shield.token[] := string_to_array(p_tokens, ',')::shield.token[];
    v_aliases CONSTANT shield.alias[] := string_to_array(p_aliases, ',', '')::shield.alias[];
    v_expires CONSTANT timestamptz[] := string_to_array(p_expires, ',', '')::timestamptz[];
    v_place_of CONSTANT int[] := string_to_array(p_place_of, ',')::int[];
    v_countries CONSTANT shield.region_code[] := p_countries::shield.region_code[];
    v_regions CONSTANT shield.place[] := p_regions::shield.place[];
    v_time_zones CONSTANT shield.place[] := p_time_zones::shield.place[];
    v_line_types CONSTANT shield.word[] := p_line_types::shield.word[];
    v_unlabelled CONSTANT shield.labels := '{}';
    v_labels CONSTANT shield.labels[] := (SELECT array_agg(l.value::shield.labels ORDER BY l.at)
        FROM jsonb_array_elements(p_labels) WITH ORDINALITY AS l (value, at));
    v_index_version CONSTANT shield.version := p_index_version;
    v_key_version CONSTANT shield.version := p_key_version;
    v_rows CONSTANT int := cardinality(v_tokens);
    v_width CONSTANT int := octet_length(p_ciphertexts) / nullif(v_rows, 0);
    v_space record;
    v_named int;
    v_lot int;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    PERFORM shield.take_turn(p_tenant_id, false);
    SELECT s.tokens, t.token_prefix, t.token_length,
            power(10::numeric, t.token_length - length(t.token_prefix) - 1) / 10000 AS most
        INTO v_space FROM shield.token_space s JOIN shield.tenants t ON t.id = s.tenant_id
        WHERE s.tenant_id = p_tenant_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    IF v_rows = 0 OR NOT shield.is_settled(p_tenant_id, p_index_version, p_key_version)
            OR v_space.tokens + v_rows > v_space.most THEN
        RETURN false;
    END IF;
    -- Most tenants have erased nothing: looking for each token would cost more than asking that.
    IF EXISTS (SELECT FROM shield.erasures e WHERE e.tenant_id = p_tenant_id) THEN
        IF EXISTS (SELECT FROM shield.erasures e WHERE e.tenant_id = p_tenant_id AND e.token = ANY (v_tokens)) THEN
            RETURN false;
        END IF;
    END IF;
    IF octet_length(p_indexes) <> 32 * v_rows OR octet_length(p_ciphertexts) <> v_width * v_rows
            OR cardinality(v_place_of) <> v_rows OR cardinality(v_aliases) <> v_rows
            OR jsonb_array_length(p_labels) <> v_rows
            OR EXISTS (SELECT FROM unnest(v_tokens) u WHERE length(u) <> v_space.token_length
                OR NOT starts_with(u, v_space.token_prefix)) THEN
        RAISE EXCEPTION 'a column is not of the batch, or a token not of the tenant' USING ERRCODE = 'check_violation';
    END IF;
    v_lot := v_space.tokens / 32;
    BEGIN
        INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token, lot)
            SELECT p_tenant_id, u.number_index, v_index_version, v_tokens[u.at], v_lot + u.at / 32
            FROM (SELECT g.at, substring(p_indexes FROM 32 * g.at - 31 FOR 32) AS number_index
                FROM (SELECT generate_series(1, v_rows) AS at) g) u ORDER BY u.number_index;
        INSERT INTO shield.aliases (tenant_id, alias, token, lot)
            SELECT p_tenant_id, v_aliases[u.at], v_tokens[u.at], v_lot + u.at / 32
            FROM (SELECT generate_series(1, v_rows) AS at) u WHERE v_aliases[u.at] IS NOT NULL ORDER BY v_aliases[u.at];
        GET DIAGNOSTICS v_named = ROW_COUNT;
        INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version, expires_at,
                country, region, time_zone, line_type, labels, lot)
            SELECT p_tenant_id, v_tokens[u.at], substring(p_ciphertexts FROM v_width * (u.at - 1) + 1 FOR v_width),
                v_key_version, v_expires[u.at], v_countries[v_place_of[u.at]], v_regions[v_place_of[u.at]],
                v_time_zones[v_place_of[u.at]], v_line_types[v_place_of[u.at]], coalesce(v_labels[u.at], v_unlabelled),
                v_lot + u.at / 32
            FROM (SELECT generate_series(1, v_rows) AS at) u ORDER BY v_tokens[u.at];
        UPDATE shield.token_space SET tokens = tokens + v_rows WHERE tenant_id = p_tenant_id AND tokens + v_rows <= v_space.most;
        IF NOT FOUND THEN  -- another batch took the last room
            RAISE EXCEPTION 'the token space is full' USING ERRCODE = 'ES001';
        END IF;
    EXCEPTION WHEN unique_violation OR SQLSTATE 'ES001' THEN
        RETURN false;
    END;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'tokens.seeded',
        jsonb_build_object('created', v_rows, 'existing', 0, 'aliases', v_named));
    RETURN true;
END
$$;
