-- Reaper: worker logins whose permits since p_after (an id of the audit trail) nobody redeemed, or somebody else did, and what
-- was done: LOCKED (it mints no more until an administrator unlocks it) or SPARED. Of p_least calls and more a share of
-- p_unredeemed is too much, of exchanges by another gateway, delivery or leg p_elsewhere are. Calls of the last 15 seconds
-- still have time. Unless p_lock_all, the last logins that mint are spared: what all do alike is an edge or a resolver that is
-- away, and locking all would be worse. A login that is locked already is not told again.
CREATE OR REPLACE FUNCTION shield_api.watch_minting(
    p_after bigint, p_least int, p_unredeemed double precision, p_elsewhere int, p_lock_all boolean
) RETURNS TABLE (login text, calls int, unredeemed int, elsewhere int, verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_suspects jsonb;
    v_found record;
    v_others boolean;
BEGIN
    -- One watch after another: of two, each would take the other's last login for one that is left.
    PERFORM pg_advisory_xact_lock(hashtext('shield.watch_minting'), 0);
    WITH minted AS (
        SELECT e.login, e.call FROM shield.audit_events e
            WHERE e.id > p_after AND e.kind = 'call.authorized' AND e.at < clock_timestamp() - interval '15 seconds'
    ), met AS (
        SELECT e.call, bool_or(e.kind = 'permit.redeemed') AS redeemed, bool_or(e.detail ->> 'reason' IN ('token_differs',
                'gateway_differs', 'delivery_differs', 'call_id_differs', 'delivery_foreign')) AS elsewhere
            FROM shield.audit_events e WHERE e.id > p_after AND e.kind IN ('permit.redeemed', 'permit.refused')
            AND e.call IS NOT NULL GROUP BY e.call
    ), counted AS (
        SELECT m.login, count(*) AS calls, count(*) FILTER (WHERE t.redeemed IS NOT TRUE) AS unredeemed,
                count(*) FILTER (WHERE t.elsewhere) AS elsewhere
            FROM minted m LEFT JOIN met t ON t.call = m.call GROUP BY m.login
    )
    SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') INTO v_suspects FROM counted c
        WHERE c.elsewhere >= p_elsewhere OR c.calls >= p_least AND c.unredeemed >= p_unredeemed * c.calls;
    v_others := p_lock_all OR EXISTS (SELECT FROM shield.logins l WHERE l.role = 'worker' AND l.locked_at IS NULL
        AND l.login NOT IN (SELECT s ->> 'login' FROM jsonb_array_elements(v_suspects) s));
    FOR v_found IN SELECT s.* FROM jsonb_to_recordset(v_suspects)
                AS s (login text, calls int, unredeemed int, elsewhere int) JOIN shield.logins l ON l.login = s.login
            WHERE l.role = 'worker' AND l.locked_at IS NULL ORDER BY s.login LOOP
        login := v_found.login;
        calls := v_found.calls;
        unredeemed := v_found.unredeemed;
        elsewhere := v_found.elsewhere;
        verdict := CASE WHEN v_others THEN 'LOCKED' ELSE 'SPARED' END;
        IF v_others THEN
            UPDATE shield.logins l SET locked_at = clock_timestamp(),
                    locked_for = CASE WHEN v_found.elsewhere >= p_elsewhere THEN 'redeemed_elsewhere' ELSE 'unredeemed' END
                WHERE l.login = v_found.login;
            INSERT INTO shield.audit_events (kind, detail) VALUES ('login.locked', jsonb_build_object('login', login,
                'calls', calls, 'unredeemed', unredeemed, 'elsewhere', elsewhere));
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
