-- Housekeeper: one step of what has to be done with months, and what it was; no row when there is nothing to do. A step is a
-- transaction of its own, so that its locks are short, and waits for them a fifth of a second: calls that queue behind it
-- wait no longer. Steps: made (a month ahead), detached (past retention: renamed detached_..., all rows kept), dropped (a
-- detached one, only when p_drop). busy: somebody else is at it or has the table, try later; kept: shield.may_detach said
-- no. p_skip are names a run is through with. p_try says what the next step would be and takes none.
CREATE OR REPLACE FUNCTION shield_api.keep_months(
    p_ahead int, p_calls_months int, p_audit_months int, p_detach boolean, p_drop boolean, p_skip text[], p_try boolean
) RETURNS TABLE (step text, name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms'
AS $$
DECLARE
    v_table text;
    v_month timestamptz;
    v_old record;
    v_name text := 'the tables';
BEGIN
    IF NOT EXISTS (SELECT FROM shield.logins l WHERE l.login = session_user::text AND l.role = 'housekeeper')
            AND NOT pg_has_role(session_user, 'shield_owner', 'MEMBER') THEN
        RETURN;
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('shield.keep_months')) THEN
        RETURN QUERY SELECT 'busy', 'another housekeeper or an erasure';
        RETURN;
    END IF;
    BEGIN
        SELECT t, m INTO v_table, v_month FROM unnest(ARRAY['calls', 'call_agents', 'audit_events']) AS t,
                generate_series(least(date_trunc('month', now()), CASE WHEN NOT p_try THEN shield.oldest_stray(t) END),
                    date_trunc('month', now()) + make_interval(months => least(greatest(p_ahead, 1), 36)),
                    interval '1 month') AS m
            WHERE to_regclass(format('shield.%I', t || to_char(m, '_YYYY_MM'))) IS NULL
            AND to_regclass(format('shield.%I', 'detached_' || t || to_char(m, '_YYYY_MM'))) IS NULL
            AND NOT t || to_char(m, '_YYYY_MM') = ANY (p_skip) ORDER BY m, t LIMIT 1;
        IF FOUND THEN
            v_name := v_table || to_char(v_month, '_YYYY_MM');
            IF NOT p_try THEN
                PERFORM shield.make_month(v_table, v_month);
            END IF;
            RETURN QUERY SELECT 'made', v_name;
            RETURN;
        END IF;
        SELECT * INTO v_old FROM shield.old_months(p_calls_months, p_audit_months, p_drop) o
            WHERE p_detach AND NOT o.name = ANY (p_skip) LIMIT 1;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        v_name := v_old.name;
        name := v_name;
        IF NOT shield.may_detach(v_old.parent, v_old.name) THEN
            step := 'kept';
        ELSIF v_old.attached THEN
            step := 'detached';
            IF NOT p_try THEN
                EXECUTE format('ALTER TABLE shield.%I DETACH PARTITION shield.%I', v_old.parent, v_old.name);
                EXECUTE format('ALTER TABLE shield.%I RENAME TO %I', v_old.name, 'detached_' || v_old.name);
            END IF;
        ELSE
            step := 'dropped';
            IF NOT p_try THEN
                EXECUTE format('DROP TABLE shield.%I', v_old.name);
            END IF;
        END IF;
        IF step <> 'kept' AND NOT p_try THEN
            INSERT INTO shield.audit_events (kind, detail)
                VALUES ('months.' || step, jsonb_build_object('table', v_old.name));
        END IF;
        RETURN NEXT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN QUERY SELECT 'busy', v_name;
    END;
END
$$;
