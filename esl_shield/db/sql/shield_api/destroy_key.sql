-- Administrator: destroys a key that nothing needs: the wrapped key goes, its row stays as a tombstone. p_backups says what
-- became of the backups that hold rows under it ('gone', or 'abandoned': nobody will read them again); NULL only asks.
-- Verdicts: DESTROYED; CLEAR (only asked: it could be); UNKNOWN; ALREADY; NEWEST; IN_USE (dependents: rows under it); LIVE (an
-- index key that look-ups use); RECENT (dependents: seconds until no call under way can need it). since: when its last row
-- left it, which is how old a backup must be to hold one. wrapped, kek_id: of a data key in a device that is destroyed or
-- could be, its reference as it is (was) kept: what it refers to is the caller's to destroy, after this.
CREATE OR REPLACE FUNCTION shield_api.destroy_key(p_tenant_id int, p_purpose text, p_version int, p_backups text)
RETURNS TABLE (verdict text, dependents bigint, since timestamptz, wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    -- A permit lives for ten seconds, and what is redeemed is decrypted within two more.
    calls_under_way CONSTANT interval := '15 seconds';
    v_key record;
BEGIN
    SELECT d.version, d.kek_id, d.wrapped, d.retired_at, d.destroyed_at,
            (SELECT min(n.created_at) FROM shield.data_keys n WHERE n.tenant_id = d.tenant_id AND n.purpose = d.purpose
                AND n.version > d.version) AS followed_at
        INTO v_key FROM shield.data_keys d
        WHERE d.tenant_id = p_tenant_id AND d.purpose = p_purpose AND d.version = p_version FOR UPDATE OF d;
    since := greatest(v_key.followed_at, v_key.retired_at, (SELECT max(r.finished_at) FROM shield.rekeyings r
        WHERE r.tenant_id = p_tenant_id AND r.version > p_version
        AND r.work = CASE p_purpose WHEN 'data' THEN 'reencrypt' ELSE 'reindex' END));
    dependents := 0;
    verdict := CASE
        WHEN v_key.version IS NULL THEN 'UNKNOWN'
        WHEN v_key.destroyed_at IS NOT NULL THEN 'ALREADY'
        WHEN p_purpose = 'ff1' AND EXISTS (SELECT FROM shield.token_prefixes p WHERE p.tenant_id = p_tenant_id
            AND p.key_version = p_version AND p.retired_at IS NULL) THEN 'LIVE'
        WHEN v_key.followed_at IS NULL THEN 'NEWEST'
        WHEN p_purpose = 'index' AND v_key.retired_at IS NULL THEN 'LIVE'
    END;
    IF verdict IS NULL THEN
        IF p_purpose = 'data' THEN
            SELECT count(*) INTO dependents FROM shield.tokens t
                WHERE t.tenant_id = p_tenant_id AND t.key_version = p_version;
            dependents := dependents + (SELECT count(*) FROM shield.do_not_call n
                WHERE n.tenant_id = p_tenant_id AND n.key_version = p_version);
        ELSE
            SELECT count(*) INTO dependents FROM shield.number_refs n
                WHERE n.tenant_id = p_tenant_id AND n.index_version = p_version;
            dependents := dependents + (SELECT count(*) FROM shield.do_not_call n
                WHERE n.tenant_id = p_tenant_id AND n.index_version = p_version);
        END IF;
        IF dependents > 0 THEN
            verdict := 'IN_USE';
        ELSIF since + calls_under_way > clock_timestamp() THEN
            verdict := 'RECENT';
            dependents := ceil(extract(epoch FROM since + calls_under_way - clock_timestamp()));
        ELSIF p_backups IS NULL THEN
            verdict := 'CLEAR';
        ELSE
            verdict := 'DESTROYED';
            UPDATE shield.data_keys d SET wrapped = NULL, destroyed_at = clock_timestamp()
                WHERE d.tenant_id = p_tenant_id AND d.purpose = p_purpose AND d.version = p_version;
        END IF;
    END IF;
    IF verdict IN ('CLEAR', 'DESTROYED') AND substring(v_key.wrapped FROM 1 FOR 1) = '\x02' THEN
        wrapped := v_key.wrapped;
        kek_id := v_key.kek_id;
    END IF;
    IF p_backups IS NOT NULL AND v_key.version IS NOT NULL THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id,
            CASE verdict WHEN 'DESTROYED' THEN 'key.destroyed' ELSE 'key.destroy_refused' END,
            jsonb_build_object('purpose', p_purpose, 'version', p_version, 'kek_id', v_key.kek_id, 'backups', p_backups,
                'last_used', since, 'verdict', lower(verdict)));
    END IF;
    RETURN NEXT;
END
$$;
