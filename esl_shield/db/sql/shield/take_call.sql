-- Counts one call against the caps; answers the reason it may not be made, or NULL. Locks one row of each kind, always in
-- this order, so calls cannot deadlock. What was counted before a later cap said no is given back. Time is the clock's: a
-- transaction may have started as long ago as its caller likes. A window that began in the future, before the clock was set
-- back, begins now.
CREATE OR REPLACE FUNCTION shield.take_call(
    p_tenant_id int, p_token text, p_agent text,
    p_token_per_day int, p_agent_per_hour int, p_tenant_per_day int, p_mint_per_s int
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stripe CONSTANT int := pg_backend_pid() % 16;
    v_now CONSTANT timestamptz := clock_timestamp();
    v_today CONSTANT date := (v_now AT TIME ZONE 'UTC')::date;
BEGIN
    IF NOT shield.take_mint(p_mint_per_s) THEN
        RETURN 'mint_rate';
    END IF;
    IF p_token_per_day IS NOT NULL THEN
        INSERT INTO shield.token_usage AS u (tenant_id, token, since, used)
            SELECT p_tenant_id, p_token, v_now, 1 WHERE p_token_per_day > 0
        ON CONFLICT (tenant_id, token) DO UPDATE
            SET since = CASE WHEN u.since <= v_now - interval '24 hours' THEN v_now ELSE least(u.since, v_now) END,
                used = CASE WHEN u.since <= v_now - interval '24 hours' THEN 1 ELSE u.used + 1 END
            WHERE u.since <= v_now - interval '24 hours' OR u.used < p_token_per_day;
        IF NOT FOUND THEN
            RETURN 'token_cap';
        END IF;
    END IF;
    IF p_agent_per_hour IS NOT NULL THEN
        INSERT INTO shield.agent_usage AS u (tenant_id, agent, since, used)
            SELECT p_tenant_id, p_agent, v_now, 1 WHERE p_agent_per_hour > 0
        ON CONFLICT (tenant_id, agent) DO UPDATE
            SET since = CASE WHEN u.since <= v_now - interval '1 hour' THEN v_now ELSE least(u.since, v_now) END,
                used = CASE WHEN u.since <= v_now - interval '1 hour' THEN 1 ELSE u.used + 1 END
            WHERE u.since <= v_now - interval '1 hour' OR u.used < p_agent_per_hour;
        IF NOT FOUND THEN
            PERFORM shield.give_back(p_tenant_id, p_token, p_token_per_day, NULL, NULL);
            RETURN 'agent_cap';
        END IF;
    END IF;
    IF p_tenant_per_day IS NOT NULL THEN
        -- Counted first, which locks the stripe, then added up: calls of one stripe see each other, so calls at the same
        -- moment pass the cap by 15 at most, one for each other stripe.
        INSERT INTO shield.tenant_usage AS u (tenant_id, stripe, day, used) VALUES (p_tenant_id, v_stripe, v_today, 1)
        ON CONFLICT (tenant_id, stripe) DO UPDATE
            SET day = greatest(u.day, excluded.day), used = CASE WHEN u.day >= excluded.day THEN u.used + 1 ELSE 1 END;
        IF p_tenant_per_day < (SELECT sum(u.used) FROM shield.tenant_usage u
                WHERE u.tenant_id = p_tenant_id AND u.day >= v_today) THEN
            UPDATE shield.tenant_usage SET used = used - 1 WHERE tenant_id = p_tenant_id AND stripe = v_stripe;
            PERFORM shield.give_back(p_tenant_id, p_token, p_token_per_day, p_agent, p_agent_per_hour);
            RETURN 'tenant_cap';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
