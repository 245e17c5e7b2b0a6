-- What FreeSWITCH's records of a call's legs change in its own record; answers one word:
--   UNKNOWN no such call; WAITING not enough is known, or its worker may still say more; ENDED the records ended it now;
--   AGREES, DIFFERS compared now with what the worker wrote; KNOWN both was done before.
-- What a worker saw end stays; only an end nobody saw (LOST) is replaced. p_gone: FreeSWITCH was asked and no leg is left.
-- A call ends with its customer's leg. p_seen is when a leg of it was last seen up.
CREATE OR REPLACE FUNCTION shield.settle_call(p_call uuid, p_started_at timestamptz, p_gone boolean, p_seen timestamptz)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    patience CONSTANT interval := '60 seconds';  -- with a worker that lives, or a leg whose record does not come
    ordering CONSTANT interval := '2 seconds';   -- between the records of two legs that end together
    tolerance CONSTANT interval := '5 seconds';
    v_call shield.calls;
    v_own shield.cdr_legs;
    v_far shield.cdr_legs;
    v_last shield.cdr_legs;
    v_first_at timestamptz;
    v_answered timestamptz;
    v_over timestamptz;
    v_open boolean;
    v_what text[];
BEGIN
    SELECT c.* INTO v_call FROM shield.calls c WHERE c.id = p_call AND c.started_at = p_started_at FOR UPDATE;
    IF v_call.id IS NULL OR v_call.state = 'REFUSED' THEN
        RETURN 'UNKNOWN';
    ELSIF v_call.cdr IS NOT NULL THEN
        RETURN 'KNOWN';
    END IF;
    v_open := v_call.state IN ('AUTHORIZED', 'ANSWERED');
    SELECT l.* INTO v_own FROM shield.cdr_legs l WHERE l.call = p_call AND l.channel = v_call.channel;
    SELECT l.* INTO v_far FROM shield.cdr_legs l WHERE l.call = p_call AND l.channel <> v_call.channel
        AND l.channel = coalesce(v_call.customer_channel, v_own.other_channel, l.channel)
        ORDER BY l.ended_at DESC LIMIT 1;
    v_first_at := least(v_own.received_at, v_far.received_at);
    IF v_first_at IS NULL OR v_open AND NOT p_gone AND v_first_at > clock_timestamp() - patience
            AND NOT shield.worker_is_gone(v_call.login, v_call.worker) THEN
        RETURN 'WAITING';
    END IF;

    -- The leg that calls was not answered before, save a transferred customer's, a customer's who calls in, or that of an
    -- agent we rang.
    v_answered := CASE
        WHEN v_call.direction = 'inbound' THEN coalesce(v_call.answered_at, v_own.bridged_at)
        WHEN v_call.referred_by IS NOT NULL OR v_call.dialled_class = 'click'
            THEN coalesce(v_far.answered_at, v_call.answered_at)
        ELSE coalesce(v_own.answered_at, v_far.answered_at, v_call.answered_at) END;
    v_last := CASE
        WHEN v_call.direction = 'inbound' THEN v_own
        WHEN v_call.referred_by IS NOT NULL THEN CASE WHEN v_far.call IS NOT NULL THEN v_far END
        WHEN v_answered IS NOT NULL THEN CASE WHEN v_far.call IS NOT NULL THEN v_far WHEN p_gone THEN v_own END
        WHEN v_far.call IS NOT NULL OR p_gone OR v_own.received_at < clock_timestamp() - ordering THEN v_own END;
    IF v_last.call IS NULL AND (p_gone OR NOT v_open AND v_call.state <> 'LOST'
            AND (v_call.delivery = 'direct' OR v_first_at < clock_timestamp() - tolerance)) THEN
        v_last := CASE WHEN v_far.ended_at > v_own.ended_at OR v_own.call IS NULL THEN v_far ELSE v_own END;
    END IF;
    IF v_last.call IS NULL THEN
        RETURN 'WAITING';
    END IF;
    v_over := v_last.ended_at;

    IF NOT v_open AND v_call.state <> 'LOST' THEN
        v_what := array_remove(ARRAY[
            CASE WHEN (v_answered IS NULL) <> (v_call.answered_at IS NULL) OR (v_call.direction = 'outbound'
                AND v_call.referred_by IS NULL AND v_own.call IS NOT NULL AND v_own.answered_at IS NULL
                AND v_call.answered_at IS NOT NULL) THEN 'answered' END,
            -- An answered call may outlive the leg that made it.
            CASE WHEN v_over > v_call.ended_at + tolerance OR (v_over < v_call.ended_at - tolerance
                AND (v_last.channel <> v_call.channel OR v_answered IS NULL OR v_call.direction = 'inbound'))
                THEN 'ended' END], NULL);
        UPDATE shield.calls c SET cdr = CASE WHEN v_what = '{}' THEN 'agrees' ELSE 'differs' END
            WHERE c.id = p_call AND c.started_at = p_started_at;
        IF v_what <> '{}' THEN
            INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (v_call.tenant_id,
                'call.cdr_differs', v_call.agent, v_call.token, p_call, jsonb_strip_nulls(jsonb_build_object('in', v_what,
                'answered_at', coalesce(v_far.answered_at, v_own.answered_at), 'ended_at', v_over, 'cause', v_last.cause)));
        END IF;
        RETURN CASE WHEN v_what = '{}' THEN 'AGREES' ELSE 'DIFFERS' END;
    END IF;

    -- A leg was seen up after the last record we have: when the customer left, that record does not say.
    IF v_far.call IS NULL AND v_answered IS NOT NULL AND p_seen > v_over + tolerance THEN
        RETURN 'WAITING';
    END IF;
    IF v_answered IS NULL AND v_far.cause IS NOT NULL THEN
        v_last.cause := v_far.cause;
        v_last.state := v_far.state;
        v_last.sip_code := v_far.sip_code;
    END IF;
    UPDATE shield.calls c SET state = CASE WHEN v_answered IS NULL THEN v_last.state ELSE 'COMPLETED' END,
            hangup_cause = v_last.cause, sip_code = CASE WHEN v_answered IS NULL THEN v_last.sip_code ELSE 200 END,
            attempts = greatest(c.attempts, c.permits),
            ringing_at = coalesce(c.ringing_at, v_own.ringing_at, v_far.ringing_at), answered_at = v_answered,
            ended_at = v_over, ended_before = NULL, ended_by = 'cdr', cdr = 'ended'
        WHERE c.id = p_call AND c.started_at = p_started_at;
    PERFORM shield.end_agents(p_call, p_started_at, v_answered, v_over);
    DELETE FROM shield.permits m WHERE m.call = p_call;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (v_call.tenant_id,
        'call.completed', v_call.agent, v_call.token, p_call, jsonb_build_object('by', 'cdr', 'was', v_call.state));
    IF v_call.hooked THEN
        PERFORM shield.post_call(p_call, p_started_at, 'call.ended');
    END IF;
    RETURN 'ENDED';
END
$$;
