-- Resolver: exchange permits for ciphertexts, many in one statement; each is judged by itself, in the order given, and has an
-- audit event of its own. A permit asked for is gone whatever the answer, of those who ask for
-- the same one only the first gets it, in this statement and in others. A row for each that is exactly as minted (place counts
-- from 1), none for a refused one. With p_wait false nobody waits for another's row: what some other transaction holds is left
-- as it is, without an event, and named by a row of NULLs behind its place; ask for it again, alone, with p_wait true.
-- The ciphertext of a token without a row is NULL, its key version too: token_method says how it is decrypted.
CREATE OR REPLACE FUNCTION shield_api.redeem_permits(
    p_permit_hashes bytea[], p_tokens text[], p_gateways text[], p_deliveries text[], p_sip_call_ids text[], p_wait boolean
) RETURNS TABLE (place int, call uuid, tenant_id int, token text, ciphertext bytea, key_version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
-- Permits come and go faster than statistics: a plan made while there were few would go on reading them all. The price put
-- on that (enable_seqscan) must not look like work worth compiling (jit).
DECLARE
    longest CONSTANT interval := '15 seconds';  -- of a permit's life; one that has more was minted before the clock was set back
    v_deliveries CONSTANT text[] := (SELECT coalesce(l.deliveries, '{edge,direct}') FROM shield.logins l
        WHERE l.login = session_user::text);
BEGIN
    IF p_wait THEN
        PERFORM FROM shield.permits m WHERE m.permit_hash = ANY (p_permit_hashes) ORDER BY m.permit_hash FOR UPDATE;
    END IF;
    RETURN QUERY
    WITH taken AS MATERIALIZED (
        DELETE FROM shield.permits m WHERE m.ctid = ANY (ARRAY(
            SELECT f.ctid FROM shield.permits f WHERE f.permit_hash = ANY (p_permit_hashes) FOR UPDATE SKIP LOCKED))
        RETURNING m.permit_hash, m.call, m.tenant_id, m.agent, m.token, m.gateway, m.delivery, m.sip_call_id, m.expires_at
    ), judged AS MATERIALIZED (
        SELECT a.place::int, t.call, t.tenant_id, t.agent, t.token, t.gateway, t.delivery, k.ciphertext, k.key_version, CASE
            WHEN t.call IS NULL AND NOT p_wait
                AND EXISTS (SELECT FROM shield.permits h WHERE h.permit_hash = a.permit_hash)
                AND NOT EXISTS (SELECT FROM taken o WHERE o.permit_hash = a.permit_hash) THEN 'held'
            WHEN t.call IS NULL THEN 'permit_unknown'
            WHEN t.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + longest THEN 'permit_expired'
            WHEN a.token IS DISTINCT FROM t.token THEN 'token_differs'
            WHEN a.gateway IS DISTINCT FROM t.gateway THEN 'gateway_differs'
            WHEN a.delivery IS DISTINCT FROM t.delivery THEN 'delivery_differs'
            WHEN t.sip_call_id IS NOT NULL AND a.sip_call_id IS DISTINCT FROM t.sip_call_id THEN 'call_id_differs'
            WHEN (t.delivery = ANY (v_deliveries)) IS NOT TRUE THEN 'delivery_foreign'
            WHEN k.status <> 'active' OR k.expires_at <= clock_timestamp() THEN 'token_over'
            WHEN k.token IS NULL THEN CASE WHEN NOT shield.rowless_live(t.tenant_id, t.token) THEN 'token_over' END
            END AS reason
        FROM unnest(p_permit_hashes, p_tokens, p_gateways, p_deliveries, p_sip_call_ids) WITH ORDINALITY
            AS a (permit_hash, token, gateway, delivery, sip_call_id, place)
        LEFT JOIN taken t ON t.permit_hash = a.permit_hash AND a.place = array_position(p_permit_hashes, a.permit_hash)
        LEFT JOIN shield.tokens k ON k.tenant_id = t.tenant_id AND k.token = t.token
    ), noted AS (
        INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail)
            SELECT j.tenant_id, CASE WHEN j.reason IS NULL THEN 'permit.redeemed' ELSE 'permit.refused' END,
                j.agent, j.token, j.call,
                CASE WHEN j.reason IS NULL THEN jsonb_build_object('gateway', j.gateway, 'delivery', j.delivery)
                    ELSE jsonb_build_object('reason', j.reason) END
            FROM judged j WHERE j.reason IS DISTINCT FROM 'held' ORDER BY j.place
    )
    SELECT j.place, j.call, j.tenant_id, j.token::text, j.ciphertext::bytea, j.key_version::int
        FROM judged j WHERE j.reason IS NULL OR j.reason = 'held' ORDER BY j.place;
END
$$;
