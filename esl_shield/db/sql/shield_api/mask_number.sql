-- Masker: the token of a caller's number (as blind index and ciphertext), made on first sight by the way imports make them.
-- A revoked or expired token is answered too: it can be shown and not be called. Verdicts: MASKED; REFUSED, whatever the
-- reason, which stands only in the audit event; STALE, when DID or keys are no longer those the caller read; COLLISION, when
-- another candidate must be drawn.
CREATE OR REPLACE FUNCTION shield_api.mask_number(
    p_did text, p_call uuid, p_tenant_id int, p_index_version int, p_key_version int, p_row jsonb
) RETURNS TABLE (verdict text, token text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_index CONSTANT bytea := decode(p_row ->> 'index', 'hex');
    v_previous CONSTANT bytea := decode(p_row ->> 'previous', 'hex');
    v_did record;
    v_token text;
    v_outcome text;
    v_reason text;
    v_keys record;
BEGIN
    SELECT k.* INTO v_keys FROM shield.live_keys(p_tenant_id) k;
    SELECT d.tenant_id, d.did, d.masks_per_minute, l.mint_per_s INTO v_did
        FROM shield.dids d LEFT JOIN shield.logins l ON l.login = session_user::text
        WHERE d.did = p_did AND d.enabled;
    IF v_did.tenant_id IS DISTINCT FROM p_tenant_id OR v_keys.index <> p_index_version OR v_keys.data <> p_key_version
            OR v_keys.index_before IS NOT NULL AND p_row ->> 'previous' IS NULL THEN
        RETURN QUERY SELECT 'STALE', NULL::text;
        RETURN;
    END IF;
    v_reason := CASE
        WHEN NOT shield.take_mint(v_did.mint_per_s) THEN 'login_rate'
        WHEN NOT shield.take_mask(p_tenant_id, v_did.did, v_did.masks_per_minute) THEN 'did_rate'
    END;
    IF v_reason IS NULL THEN
        SELECT n.token INTO v_token FROM shield.number_refs n
            WHERE n.tenant_id = p_tenant_id AND n.number_index = v_index AND n.index_version = p_index_version;
        IF v_token IS NULL AND v_keys.index_before IS NOT NULL THEN
            SELECT n.token INTO v_token FROM shield.number_refs n WHERE n.tenant_id = p_tenant_id
                AND n.number_index = v_previous AND n.index_version = v_keys.index_before;
        END IF;
        IF v_token IS NULL THEN
            BEGIN
                SELECT s.token, s.outcome INTO v_token, v_outcome
                    FROM shield_api.seed_tokens(p_tenant_id, p_index_version, p_key_version, jsonb_build_array(p_row)) s;
            EXCEPTION
                WHEN SQLSTATE 'ES001' THEN
                    v_reason := 'space_full';
                WHEN SQLSTATE 'ES004' THEN  -- rotated since the first look
                    v_outcome := 'stale';
            END;
        END IF;
    END IF;
    IF v_outcome IN ('collision', 'stale') THEN
        RETURN QUERY SELECT upper(v_outcome), NULL::text;
        RETURN;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, token, call, detail) VALUES (
        p_tenant_id, CASE WHEN v_reason IS NULL THEN 'number.masked' ELSE 'number.mask_refused' END, v_token, p_call,
        CASE WHEN v_reason IS NULL THEN jsonb_build_object('did', v_did.did, 'new', v_outcome IS NOT DISTINCT FROM 'created')
            ELSE jsonb_build_object('did', v_did.did, 'reason', v_reason) END);
    RETURN QUERY SELECT CASE WHEN v_reason IS NULL THEN 'MASKED' ELSE 'REFUSED' END, v_token;
END
$$;
