-- Sealer: add a block to the end of the chain. False, and nothing is added, when another session is the sealer or the
-- chain's end is not the one the block was made for. Again with the very block that is there: true.
CREATE OR REPLACE FUNCTION shield_api.append_block(
    p_header text, p_signature bytea, p_entries bytea, p_leaves bytea, p_code bytea, p_manifest text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_block CONSTANT jsonb := p_header;
    v_number CONSTANT bigint := v_block ->> 'block';
    v_newest record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(shield.sealing_lock()) THEN
        RETURN false;
    END IF;
    SELECT b.number, b.header, encode(sha256('\x02'::bytea || convert_to(b.header, 'UTF8')), 'hex') AS hash INTO v_newest
        FROM shield.audit_blocks b ORDER BY b.number DESC LIMIT 1;
    IF v_newest.header = p_header THEN
        RETURN true;
    END IF;
    IF v_number <= coalesce(v_newest.number, 0) OR v_block ->> 'previous' <> coalesce(v_newest.hash, '') THEN
        RETURN false;
    END IF;
    INSERT INTO shield.audit_code (hash, manifest, first_block) VALUES (p_code, p_manifest, v_number) ON CONFLICT DO NOTHING;
    INSERT INTO shield.audit_blocks (number, header, signature, entries, leaves, last_xid, last_id)
        VALUES (v_number, p_header, p_signature, p_entries, p_leaves, (v_block ->> 'xid')::xid8, (v_block ->> 'id')::bigint);
    RETURN true;
END
$$;
