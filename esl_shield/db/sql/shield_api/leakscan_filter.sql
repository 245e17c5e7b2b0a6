-- Scanner: the beginnings of a tenant's blind indexes, in order, from one on; a page of four bytes each, and where the
-- next page begins (NULL: this is the last). So few bits of each that one number in 256 looks as if it were there: who
-- has the index key too learns from them who is none of the tenant's customers, and must ask for everybody else.
CREATE OR REPLACE FUNCTION shield_api.leakscan_filter(p_scan uuid, p_tenant_id int, p_from bigint)
RETURNS TABLE (bits int, beginnings bytea, next_from bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    v_page CONSTANT int := 262144;
    v_step bigint;
    v_last bigint;
    v_count int;
BEGIN
    SELECT least(32, 8 + ceil(log(2, greatest(s.tokens, 2)::numeric)))::int INTO bits
        FROM shield.token_space s WHERE s.tenant_id = p_tenant_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_step := 1::bigint << (32 - bits);
    SELECT string_agg(substr(int8send(b.beginning), 5), ''::bytea ORDER BY b.beginning), max(b.beginning), count(*)
        INTO beginnings, v_last, v_count
        FROM (SELECT DISTINCT f.beginning FROM (
                SELECT ('x' || encode(substr(n.number_index::bytea, 1, 4), 'hex'))::bit(32)::bigint
                        / v_step * v_step AS beginning
                    FROM shield.number_refs n
                    WHERE n.tenant_id = p_tenant_id
                        AND n.number_index::bytea >= substr(int8send(greatest(p_from, 0)), 5)
                    ORDER BY n.number_index LIMIT v_page) f) b;
    next_from := CASE WHEN v_count > 0 AND v_last + v_step < 1::bigint << 32 THEN v_last + v_step END;
    beginnings := coalesce(beginnings, ''::bytea);
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'leakscan.filter',
        jsonb_build_object('scan', p_scan, 'from', p_from, 'beginnings', v_count, 'bits', bits));
    RETURN NEXT;
END
$$;
