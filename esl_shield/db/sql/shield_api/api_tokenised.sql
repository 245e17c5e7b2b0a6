-- Seeder, asked over HTTP: note what a request did (p_detail: counts), and with an idempotency key (p_name, HMAC) keep
-- what it is answered. Called with p_answer NULL first, which reserves the idempotency key (a row whose answer is JSON's
-- null): OK, do it; REPEATED with the kept answer when the same request (p_request, HMAC) was answered within a day; OTHER
-- when another has the key; RUNNING while the same one does. A reservation is given back by api_tokenising_failed; one a
-- process died with is the same request's again after a minute. Also verdicts of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_tokenised(p_key bytea, p_name bytea, p_request bytea, p_answer jsonb, p_detail jsonb)
RETURNS TABLE (verdict text, answer jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_kept shield.api_answers;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'tokens:write');
    IF v_by.verdict <> 'OK' THEN
        RETURN QUERY SELECT v_by.verdict, NULL::jsonb;
        RETURN;
    END IF;
    IF p_answer IS NOT NULL THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_by.tenant_id, 'api.tokenised',
            jsonb_build_object('key', v_by.key_id) || p_detail);
        IF p_name IS NOT NULL THEN
            DELETE FROM shield.api_answers a WHERE a.tenant_id = v_by.tenant_id AND a.name IN (SELECT o.name
                FROM shield.api_answers o WHERE o.tenant_id = v_by.tenant_id AND o.made_at < now() - interval '1 day'
                ORDER BY o.made_at LIMIT 10 FOR UPDATE SKIP LOCKED);
        END IF;
    END IF;
    IF p_name IS NOT NULL THEN
        INSERT INTO shield.api_answers AS a (tenant_id, name, request, answer)
            VALUES (v_by.tenant_id, p_name, p_request, coalesce(p_answer, 'null'))
            ON CONFLICT (tenant_id, name) DO UPDATE SET request = excluded.request, answer = excluded.answer, made_at = now()
                WHERE a.made_at < now() - interval '1 day' OR a.answer = 'null' AND a.request = excluded.request
                    AND (p_answer IS NOT NULL OR a.made_at < now() - interval '1 minute');
        IF FOUND THEN
            RETURN QUERY SELECT 'OK', NULL::jsonb;
            RETURN;
        END IF;
    END IF;
    SELECT a.* INTO v_kept FROM shield.api_answers a WHERE a.tenant_id = v_by.tenant_id AND a.name = p_name
        AND a.made_at >= now() - interval '1 day';
    RETURN QUERY SELECT CASE WHEN v_kept.name IS NULL THEN 'OK' WHEN v_kept.request <> p_request THEN 'OTHER'
        WHEN v_kept.answer = 'null' THEN 'RUNNING' ELSE 'REPEATED' END,
        CASE WHEN v_kept.request = p_request AND v_kept.answer <> 'null' THEN v_kept.answer END;
END
$$;
