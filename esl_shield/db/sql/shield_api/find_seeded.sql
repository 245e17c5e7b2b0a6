-- Seeder: which of a batch's numbers have a token already and come with nothing new, an alias that is that token's or none, so
-- that they need not be seeded again: their tokens in the batch's order, joined by commas, '' for each other row. Such a row's
-- answer depends on no other row. NULL: look at each row with seed_tokens, an index key is being replaced or a key is not the
-- newest. Parameters as seed_batch takes them. What was sought is audited, found or not. Raises ES002 (no such tenant). Compiling
-- this (jit) would cost more than running it: the planner believes in a thousand rows and in all partitions for each.
CREATE OR REPLACE FUNCTION shield_api.find_seeded(
    p_tenant_id int, p_index_version int, p_key_version int, p_indexes bytea, p_aliases text
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    v_rows CONSTANT int := octet_length(p_indexes) / 32;
    v_aliases CONSTANT text[] := string_to_array(p_aliases, ',', '');
    v_tokens text;
    v_found int;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    PERFORM shield.take_turn(p_tenant_id, false);
    IF NOT EXISTS (SELECT FROM shield.token_space s WHERE s.tenant_id = p_tenant_id) THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    IF num_nulls(p_index_version, p_key_version, p_indexes) > 0 OR v_rows = 0 OR octet_length(p_indexes) <> 32 * v_rows
            OR cardinality(v_aliases) <> v_rows THEN
        RAISE EXCEPTION 'a column is not of the batch' USING ERRCODE = 'check_violation';
    END IF;
    IF NOT shield.is_settled(p_tenant_id, p_index_version, p_key_version) THEN
        RETURN NULL;
    END IF;
    -- Taken apart in a step of its own: within the look-up substring(), which is not leakproof, would keep row-level security
    -- from using the index. A look-up for each row, whatever the planner thinks of their number.
    WITH given AS MATERIALIZED (
        SELECT g.at, substring(p_indexes FROM 32 * g.at - 31 FOR 32) AS number_index, v_aliases[g.at] AS alias
        FROM (SELECT generate_series(1, v_rows) AS at) g
    ), known AS MATERIALIZED (
        SELECT g.at, g.alias, (SELECT n.token::text FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
            AND n.number_index = g.number_index AND n.index_version = p_index_version) AS token
        FROM given g
    ), settled AS MATERIALIZED (
        SELECT k.at, CASE WHEN k.alias IS NULL THEN k.token WHEN k.token IS NOT NULL THEN (SELECT a.token::text
            FROM shield.aliases a WHERE a.tenant_id = p_tenant_id AND a.alias = k.alias AND a.token = k.token) END AS token
        FROM known k
    )
    SELECT string_agg(coalesce(s.token, ''), ',' ORDER BY s.at), count(s.token) INTO v_tokens, v_found FROM settled s;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'tokens.seeded',
        jsonb_build_object('created', 0, 'existing', v_found, 'aliases', 0, 'sought', v_rows));
    RETURN v_tokens;
END
$$;
