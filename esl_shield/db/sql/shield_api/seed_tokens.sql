-- Seeder: one batch of numbers (as blind index and ciphertext) becomes tokens. Imports of one tenant take turns at the row
-- in token_space, so a batch sees what those before it did and none can deadlock.
-- Outcomes: created, existing (the number has a token already), alias_taken, collision (draw another token).
CREATE OR REPLACE FUNCTION shield_api.seed_tokens(p_tenant_id int, p_index_version int, p_key_version int, p_rows jsonb)
RETURNS TABLE (ord int, token text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_space record;
    v_row record;
    v_known text;
    v_alias_of text;
    v_created int := 0;
    v_existing int := 0;
    v_aliases int := 0;
BEGIN
    SELECT s.tokens, t.token_prefix, t.token_length,
            power(10::numeric, t.token_length - length(t.token_prefix) - 1) / 10000 AS most
        INTO v_space FROM shield.token_space s JOIN shield.tenants t ON t.id = s.tenant_id
        WHERE s.tenant_id = p_tenant_id FOR UPDATE OF s;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    IF EXISTS (SELECT FROM shield.data_keys d WHERE d.tenant_id = p_tenant_id AND d.purpose = 'index'
            HAVING max(d.version) <> p_index_version) THEN
        RAISE EXCEPTION 'the index key is not the newest' USING ERRCODE = 'ES004';
    END IF;
    FOR v_row IN SELECT * FROM jsonb_to_recordset(p_rows) AS r (ord int, index text, token text, ciphertext text,
            alias text, expires_at timestamptz, country text, region text, time_zone text, line_type text, labels jsonb)
    LOOP
        ord := v_row.ord;
        token := NULL;
        v_alias_of := NULL;
        SELECT n.token INTO v_known FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
            AND n.number_index = decode(v_row.index, 'hex') AND n.index_version = p_index_version;
        IF v_row.alias IS NOT NULL THEN
            SELECT a.token INTO v_alias_of FROM shield.aliases a
                WHERE a.tenant_id = p_tenant_id AND a.alias = v_row.alias;
        END IF;
        IF v_alias_of IS NOT NULL AND v_alias_of IS DISTINCT FROM v_known THEN
            outcome := 'alias_taken';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF v_known IS NOT NULL THEN
            token := v_known;
            outcome := 'existing';
            v_existing := v_existing + 1;
        ELSE
            IF length(v_row.token) <> v_space.token_length OR left(v_row.token, length(v_space.token_prefix))
                    <> v_space.token_prefix THEN
                RAISE EXCEPTION 'a token is not of the tenant' USING ERRCODE = 'check_violation';
            END IF;
            INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version, expires_at,
                    country, region, time_zone, line_type, labels)
                VALUES (p_tenant_id, v_row.token, decode(v_row.ciphertext, 'hex'), p_key_version, v_row.expires_at,
                    v_row.country, v_row.region, v_row.time_zone, v_row.line_type, coalesce(v_row.labels, '{}'))
                ON CONFLICT (tenant_id, token) DO NOTHING;
            IF NOT FOUND THEN
                outcome := 'collision';
                RETURN NEXT;
                CONTINUE;
            END IF;
            INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token)
                VALUES (p_tenant_id, decode(v_row.index, 'hex'), p_index_version, v_row.token);
            token := v_row.token;
            outcome := 'created';
            v_created := v_created + 1;
        END IF;
        IF v_row.alias IS NOT NULL AND v_alias_of IS NULL THEN
            INSERT INTO shield.aliases (tenant_id, alias, token) VALUES (p_tenant_id, v_row.alias, token);
            v_aliases := v_aliases + 1;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF v_space.tokens + v_created > v_space.most THEN
        RAISE EXCEPTION 'the token space is full' USING ERRCODE = 'ES001';
    END IF;
    UPDATE shield.token_space SET tokens = tokens + v_created WHERE tenant_id = p_tenant_id AND v_created > 0;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'tokens.seeded',
        jsonb_build_object('created', v_created, 'existing', v_existing, 'aliases', v_aliases));
END
$$;
