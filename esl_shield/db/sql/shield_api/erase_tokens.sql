-- Eraser: the numbers of tokens are gone for good, with index, aliases, labels, what was derived, open permits and the
-- aliases in call records, those of detached months too; call records and audit events keep the token, which is never given
-- out again and from now on is as unknown as any other. Each name is a token or an alias (both given, both must fit), the
-- arrays are as long. Outcomes: erased; already (again the facts of that erasure); held (a legal hold stands); unknown. The
-- whole list is one transaction. No rows, and an event, when tenant, case or reason is unfit.
CREATE OR REPLACE FUNCTION shield_api.erase_tokens(
    p_tenant text, p_tokens text[], p_aliases text[], p_case text, p_reason text
) RETURNS TABLE (ord int, token text, outcome text, erasure uuid, erased_at timestamptz, login text, case_id text,
    reason text, erased jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant_id int;
    v_name record;
    v_dropped record;
    v_labels int;
    v_aliases int;
    v_calls int;
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    IF v_tenant_id IS NULL OR NOT shield.case_text(p_case, p_reason)
            OR cardinality(p_tokens) IS DISTINCT FROM cardinality(p_aliases) THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant_id, 'token.erase_refused',
            jsonb_build_object('reason', CASE WHEN v_tenant_id IS NULL THEN 'tenant_unknown' ELSE 'form' END));
        RETURN;
    END IF;
    -- In turn with the housekeeper, who would take a detached month away; with imports; and one list after another.
    PERFORM pg_advisory_xact_lock_shared(hashtext('shield.keep_months'));
    PERFORM shield.take_turn(v_tenant_id, true);
    PERFORM shield.guard_detached(false);
    -- In the tokens' order, as reindex_tokens and reencrypt_tokens lock them: else each could wait for the other.
    PERFORM FROM shield.tokens k WHERE k.tenant_id = v_tenant_id AND k.token = ANY (ARRAY(
            SELECT n.token FROM unnest(p_tokens) AS n (token)
            UNION SELECT (SELECT a.token FROM shield.aliases a WHERE a.tenant_id = v_tenant_id AND a.alias = n.alias)
                FROM unnest(p_aliases) AS n (alias)))
        ORDER BY k.token FOR UPDATE;
    FOR v_name IN SELECT n.at, n.token, n.alias FROM unnest(p_tokens, p_aliases) WITH ORDINALITY AS n (token, alias, at) LOOP
        ord := v_name.at;
        token := shield.named_token(v_tenant_id, v_name.token, v_name.alias);
        erasure := NULL;
        outcome := CASE
            WHEN token IS NULL AND v_name.alias IS NULL AND EXISTS (SELECT FROM shield.erasures e
                WHERE e.tenant_id = v_tenant_id AND e.token = v_name.token) THEN 'already'
            WHEN token IS NULL THEN 'unknown'
            WHEN shield.is_held(v_tenant_id, token) THEN 'held'
            ELSE 'erased'
        END;
        IF outcome = 'erased' THEN
            -- A call that is being authorised writes the alias it has read: wait for it (it holds this lock, shared), and
            -- let the next ones find the token gone.
            PERFORM pg_advisory_xact_lock(hashtextextended(token, v_tenant_id));
            v_calls := shield.forget_calls(v_tenant_id, token);
            SELECT * INTO v_dropped FROM shield.drop_number(v_tenant_id, token);
            DELETE FROM shield.aliases a WHERE a.tenant_id = v_tenant_id AND a.token = erase_tokens.token
                AND a.lot = (SELECT CASE WHEN k.lot IS NULL THEN -1 ELSE k.lot END FROM shield.tokens k
                    WHERE k.tenant_id = v_tenant_id AND k.token = erase_tokens.token);
            GET DIAGNOSTICS v_aliases = ROW_COUNT;
            DELETE FROM shield.dial_permissions p WHERE p.tenant_id = v_tenant_id AND p.token = erase_tokens.token;
            UPDATE shield.webhook_events e SET body = e.body #- '{data,alias}' #- '{data,ref}'
                WHERE e.tenant_id = v_tenant_id AND e.body #>> '{data,token}' = erase_tokens.token;
            DELETE FROM shield.clicks k WHERE k.tenant_id = v_tenant_id AND k.token = erase_tokens.token;
            DELETE FROM shield.blocked_tokens b WHERE b.tenant_id = v_tenant_id AND b.token = erase_tokens.token;
            DELETE FROM shield.policy_marks m
                WHERE m.tenant_id = v_tenant_id AND m.kind = 'customer' AND m.name = erase_tokens.token;
            DELETE FROM shield.token_usage u WHERE u.tenant_id = v_tenant_id AND u.token = erase_tokens.token;
            DELETE FROM shield.tokens k WHERE k.tenant_id = v_tenant_id AND k.token = erase_tokens.token
                RETURNING (SELECT count(*) FROM jsonb_object_keys(k.labels)) INTO v_labels;
            UPDATE shield.token_space s SET tokens = s.tokens - 1 WHERE s.tenant_id = v_tenant_id;
            INSERT INTO shield.erasures (tenant_id, token, case_id, reason, erased)
                VALUES (v_tenant_id, token, btrim(p_case), btrim(p_reason), jsonb_build_object('ciphertexts', 1,
                    'indexes', v_dropped.indexes, 'aliases', v_aliases, 'labels', v_labels, 'call_aliases', v_calls,
                    'permits', v_dropped.permits));
        ELSIF outcome = 'already' THEN
            token := v_name.token;
        END IF;
        SELECT e.id, e.erased_at, e.login, e.case_id, e.reason, e.erased
            INTO erasure, erased_at, login, case_id, reason, erased FROM shield.erasures e
            WHERE e.tenant_id = v_tenant_id AND e.token = erase_tokens.token AND outcome IN ('erased', 'already');
        PERFORM shield.note_token(v_tenant_id,
            CASE outcome WHEN 'erased' THEN 'token.erased' ELSE 'token.erase_refused' END, token, p_case, p_reason,
            CASE outcome WHEN 'erased' THEN jsonb_build_object('erasure', erasure, 'erased', erased)
                ELSE jsonb_build_object('reason', outcome) END);
        RETURN NEXT;
    END LOOP;
    PERFORM shield.guard_detached(true);
END
$$;
