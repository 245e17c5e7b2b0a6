-- Rekeyer: what there is to re-encrypt or to re-index, of one tenant or (NULL) of all this login sees: to which key version,
-- after which token to go on, how many tokens the tenant has and are done, and whether anything is left to do. p_again: from
-- the first token on.
CREATE OR REPLACE FUNCTION shield_api.begin_rekeyings(p_work text, p_tenant text, p_again boolean)
RETURNS TABLE (tenant_id int, tenant text, version int, after_token text, tokens bigint, done bigint, due boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_started boolean;
BEGIN
    FOR tenant_id, tenant, tokens, version, due IN
        SELECT t.id, t.name, coalesce(s.tokens, 0), CASE p_work WHEN 'reencrypt' THEN k.data ELSE k.index END,
            CASE p_work WHEN 'reencrypt' THEN EXISTS (SELECT FROM shield.data_keys d WHERE d.tenant_id = t.id
                AND d.purpose = 'data' AND d.version < k.data AND d.destroyed_at IS NULL)
                ELSE k.index_before IS NOT NULL END
        FROM shield.tenants t CROSS JOIN LATERAL shield.live_keys(t.id) k LEFT JOIN shield.token_space s ON s.tenant_id = t.id
        WHERE p_tenant IS NULL OR t.name = p_tenant ORDER BY t.name LOOP
        after_token := '';
        done := 0;
        IF due THEN
            INSERT INTO shield.rekeyings (tenant_id, work, version) VALUES (tenant_id, p_work, version)
                ON CONFLICT DO NOTHING;
            v_started := FOUND;
            UPDATE shield.rekeyings r SET after_token = '', changed = 0, finished_at = NULL, moved_at = clock_timestamp()
                WHERE p_again AND r.tenant_id = begin_rekeyings.tenant_id AND r.work = p_work
                AND r.version = begin_rekeyings.version;
            SELECT r.after_token, r.changed, r.finished_at IS NULL INTO after_token, done, due FROM shield.rekeyings r
                WHERE r.tenant_id = begin_rekeyings.tenant_id AND r.work = p_work AND r.version = begin_rekeyings.version;
        END IF;
        IF due THEN
            INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (tenant_id, 'rekeying.started',
                jsonb_build_object('work', p_work, 'version', version, 'again', NOT v_started));
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
