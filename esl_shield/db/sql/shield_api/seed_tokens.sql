-- Seeder: one batch of numbers (as blind index and ciphertext) becomes tokens. It has its tenant alone, so it
-- sees what the batches before it did and none can deadlock. While an index key is being replaced each
-- row has its index under the key before too, as previous. Raises ES001 (no room), ES002 (no such tenant), ES004 (the keys
-- are not the newest, or previous is missing: read them again).
-- Outcomes: created, existing (the number has a token already), alias_taken, collision (draw another token).
CREATE OR REPLACE FUNCTION shield_api.seed_tokens(p_tenant_id int, p_index_version int, p_key_version int, p_rows jsonb)
RETURNS TABLE (ord int, token text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_space record;
    v_row record;
    v_rows jsonb;
    v_together jsonb;
    v_alone jsonb;
    v_created int := 0;
    v_existing int := 0;
    v_aliases int := 0;
BEGIN
    PERFORM shield.begin_batch(p_tenant_id, p_index_version, p_key_version, p_rows);
    SELECT s.tokens, t.token_prefix, t.token_length,
            power(10::numeric, t.token_length - length(t.token_prefix) - 1) / 10000 AS most
        INTO v_space FROM shield.token_space s JOIN shield.tenants t ON t.id = s.tenant_id
        WHERE s.tenant_id = p_tenant_id;
    IF EXISTS (SELECT FROM jsonb_array_elements(p_rows) AS r (fields)
            WHERE length(r.fields ->> 'token') <> v_space.token_length
            OR left(r.fields ->> 'token', length(v_space.token_prefix)) <> v_space.token_prefix) THEN
        RAISE EXCEPTION 'a token is not of the tenant' USING ERRCODE = 'check_violation';
    END IF;
    -- Rows that share something with one before them come after it, one by one.
    SELECT jsonb_agg(e.fields ORDER BY e.at) FILTER (WHERE e.first),
            jsonb_agg(jsonb_build_array(e.fields) ORDER BY e.at) FILTER (WHERE NOT e.first)
        INTO v_together, v_alone FROM (
            SELECT r.fields, r.at,
                row_number() OVER (PARTITION BY lower(r.fields ->> 'index') ORDER BY r.at) = 1
                AND row_number() OVER (PARTITION BY r.fields ->> 'token' ORDER BY r.at) = 1
                AND (r.fields ->> 'alias' IS NULL
                    OR row_number() OVER (PARTITION BY r.fields ->> 'alias' ORDER BY r.at) = 1) AS first
            FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS r (fields, at)) e;
    FOR v_rows IN SELECT v_together UNION ALL SELECT jsonb_array_elements(v_alone) LOOP
        FOR v_row IN SELECT * FROM shield.seed_rows(p_tenant_id, p_index_version, p_key_version, v_rows) LOOP
            ord := v_row.ord;
            token := v_row.token;
            outcome := v_row.outcome;
            v_created := v_created + (outcome = 'created')::int;
            v_existing := v_existing + (outcome = 'existing')::int;
            v_aliases := v_aliases + v_row.named::int;
            RETURN NEXT;
        END LOOP;
    END LOOP;
    IF v_space.tokens + v_created > v_space.most THEN
        RAISE EXCEPTION 'the token space is full' USING ERRCODE = 'ES001';
    END IF;
    UPDATE shield.token_space SET tokens = tokens + v_created WHERE tenant_id = p_tenant_id AND v_created > 0;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'tokens.seeded',
        jsonb_build_object('created', v_created, 'existing', v_existing, 'aliases', v_aliases));
END
$$;
