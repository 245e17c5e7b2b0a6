-- Seeds rows that share no number, alias or candidate token with each other: each looks up and inserts for itself, so all
-- go in one statement. The caller has the tenant alone. named: the row brought a new alias. A number known
-- under the index key before gets its row under the newest too.
CREATE OR REPLACE FUNCTION shield.seed_rows(p_tenant_id int, p_index_version int, p_key_version int, p_rows jsonb)
RETURNS TABLE (ord int, token text, outcome text, named boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_before CONSTANT int := (SELECT k.index_before FROM shield.live_keys(p_tenant_id) k);
BEGIN
    RETURN QUERY
    -- Decoded in a step of its own: within the look-up decode(), which is not leakproof, would keep row-level security
    -- from using the index.
    WITH decoded AS MATERIALIZED (
        SELECT r.*, decode(r.index, 'hex') AS number_index, decode(r.previous, 'hex') AS previous_index
        FROM jsonb_to_recordset(p_rows) AS r (ord int, index text, previous text, token text, ciphertext text, alias text,
            expires_at timestamptz, country text, region text, time_zone text, line_type text, labels jsonb)
    ), found AS MATERIALIZED (
        SELECT d.*,
            (SELECT n.token::text FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
                AND n.number_index = d.number_index AND n.index_version = p_index_version) AS known_now,
            (SELECT n.token::text FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
                AND n.number_index = d.previous_index AND n.index_version = v_before) AS known_before,
            (SELECT a.token::text FROM shield.aliases a WHERE a.tenant_id = p_tenant_id AND a.alias = d.alias) AS alias_of
        FROM decoded d
    ), given AS (
        SELECT f.*, coalesce(f.known_now, f.known_before) AS known FROM found f
    ), fit AS (
        SELECT * FROM given g WHERE g.alias_of IS NULL OR g.alias_of = g.known
    ), made AS (
        INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version, expires_at,
                country, region, time_zone, line_type, labels)
            SELECT p_tenant_id, f.token, decode(f.ciphertext, 'hex'), p_key_version, f.expires_at,
                f.country, f.region, f.time_zone, f.line_type, coalesce(f.labels, '{}')
            FROM fit f WHERE f.known IS NULL AND (SELECT e.token FROM shield.erasures e
                    WHERE e.tenant_id = p_tenant_id AND e.token = f.token) IS NULL  -- not NOT EXISTS, which reads them all
            ON CONFLICT (tenant_id, token) DO NOTHING RETURNING tokens.token::text AS token
    ), referred AS (
        INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token)
            SELECT p_tenant_id, f.number_index, p_index_version, m.token
            FROM made m JOIN fit f ON f.token = m.token
    ), carried AS (
        INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token, lot)
            SELECT p_tenant_id, f.number_index, p_index_version, f.known,
                (SELECT k.lot FROM shield.tokens k WHERE k.tenant_id = p_tenant_id AND k.token = f.known) FROM fit f
            WHERE f.known_now IS NULL AND f.known_before IS NOT NULL
            ORDER BY f.known ON CONFLICT DO NOTHING  -- as reindex_tokens does: else each could wait for the other
    ), called AS (
        INSERT INTO shield.aliases (tenant_id, alias, token, lot)
            SELECT p_tenant_id, f.alias, coalesce(f.known, m.token), coalesce(
                (SELECT k.lot FROM shield.tokens k WHERE k.tenant_id = p_tenant_id AND k.token = f.known), -1)
            FROM fit f LEFT JOIN made m ON m.token = f.token
            WHERE f.alias IS NOT NULL AND f.alias_of IS NULL AND coalesce(f.known, m.token) IS NOT NULL
    )
    SELECT g.ord, coalesce(f.known, m.token),
        CASE WHEN f.ord IS NULL THEN 'alias_taken' WHEN f.known IS NOT NULL THEN 'existing'
            WHEN m.token IS NOT NULL THEN 'created' ELSE 'collision' END,
        f.alias IS NOT NULL AND f.alias_of IS NULL AND coalesce(f.known, m.token) IS NOT NULL
    FROM given g LEFT JOIN fit f ON f.token = g.token LEFT JOIN made m ON m.token = g.token;
END
$$;
