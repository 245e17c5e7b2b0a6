-- What tables, columns and domains are for, where their revision did not say it; applied by every upgrade, so that a
-- database made by an older release has them as well. Partitions are described by their table.
COMMENT ON SCHEMA shield IS 'tables and the helpers of our functions: no login has a right on anything here';
COMMENT ON SCHEMA shield_api IS 'functions, the only way in; each role may call its own';
COMMENT ON SCHEMA dba IS 'views for auditors and administrators: no number, no ciphertext, no key';
COMMENT ON SEQUENCE shield.audit_event_ids IS 'ids of audit events: unique, in no strict order of time, with gaps where a transaction rolled back';

COMMENT ON DOMAIN shield.token IS 'digits that stand for a number and are dialled, 8 to 20';
COMMENT ON DOMAIN shield.alias IS 'a tenant''s own handle for a token, 1 to 64 characters';
COMMENT ON DOMAIN shield.sha256 IS '32 bytes: a hash or an HMAC';
COMMENT ON DOMAIN shield.version IS 'a key''s version, from 1';
COMMENT ON DOMAIN shield.region_code IS 'ISO 3166 country, 001 for numbers of no country';
COMMENT ON DOMAIN shield.word IS 'a word of ours, 1 to 32 lower-case letters';
COMMENT ON DOMAIN shield.labels IS 'columns a tenant asked to keep, at most 8192 bytes';
COMMENT ON DOMAIN shield.token_status IS 'active or revoked';
COMMENT ON DOMAIN shield.agent IS 'an agent''s user name, 1 to 64 characters';
COMMENT ON DOMAIN shield.gateway IS 'a gateway''s name in FreeSWITCH, 1 to 64 characters';
COMMENT ON DOMAIN shield.delivery IS 'edge: the edge redeems the permit; direct: FreeSWITCH''s script does';
COMMENT ON DOMAIN shield.call_state IS 'AUTHORIZED and ANSWERED are in flight, all others final';
COMMENT ON DOMAIN shield.hangup_cause IS 'FreeSWITCH''s name of a hangup cause';
COMMENT ON DOMAIN shield.sip_code IS 'a SIP status, 100 to 699';
COMMENT ON DOMAIN shield.small IS 'a count, 0 to 10000';
COMMENT ON DOMAIN shield.event_kind IS 'area.event, both lower-case words';
COMMENT ON DOMAIN shield.detail IS 'what else an event says, at most 4096 bytes; never a number';
COMMENT ON DOMAIN shield.reveal_rights IS 'request, approve or both';
COMMENT ON DOMAIN shield.case_id IS 'the case a request is for, 1 to 64 characters';
COMMENT ON DOMAIN shield.reason IS 'why, in a person''s words, at most 300 characters';
COMMENT ON DOMAIN shield.reveal_kind IS 'number: the number of a token; calls: the calls of a number';
COMMENT ON DOMAIN shield.reveal_state IS 'DRAFT, REQUESTED, APPROVED, OPENED or DENIED; past expires_at the first three are over';
COMMENT ON DOMAIN shield.reveal_step IS 'request, approve or open';
COMMENT ON DOMAIN shield.destinations IS '1 to 3 to ring, in order: agents, or queue:NAME';
COMMENT ON DOMAIN shield.direction IS 'inbound: the customer called; outbound: the agent did';

COMMENT ON TABLE shield.tenants IS 'one enterprise each: its SIP domain, the shape of its tokens, its caps';
COMMENT ON COLUMN shield.tenants.id IS 'the tenant''s number, in tenant_id everywhere else';
COMMENT ON COLUMN shield.tenants.name IS 'the tenant''s name';
COMMENT ON COLUMN shield.tenants.domain IS 'its agents'' SIP domain, lower-case: selects the tenant of a call';
COMMENT ON COLUMN shield.tenants.token_prefix IS 'first digits of its tokens';
COMMENT ON COLUMN shield.tenants.token_length IS 'digits of a new token, prefix and check digit included';
COMMENT ON COLUMN shield.tenants.region IS 'the country whose national spelling imports read';
COMMENT ON COLUMN shield.tenants.created_at IS 'when it was made';

COMMENT ON COLUMN shield.logins.login IS 'the PostgreSQL login';
COMMENT ON COLUMN shield.logins.role IS 'its role without shield_: worker, resolver and so on';
COMMENT ON COLUMN shield.logins.tenants IS 'ids of tenants it sees; NULL: all';
COMMENT ON COLUMN shield.logins.deliveries IS 'resolver: deliveries it may redeem; NULL: all';
COMMENT ON COLUMN shield.logins.mint_per_s IS 'worker: permits it may mint in a second, masker: callers it may mask; NULL: no limit';
COMMENT ON COLUMN shield.logins.mapped_at IS 'when `db login` last wrote the row';

COMMENT ON COLUMN shield.data_keys.tenant_id IS 'whose key it is';
COMMENT ON COLUMN shield.data_keys.purpose IS 'data: encrypts numbers; index: makes blind indexes of them';
COMMENT ON COLUMN shield.data_keys.version IS 'from 1; rows name the one they were written with';
COMMENT ON COLUMN shield.data_keys.wrapped IS 'the key, encrypted by the key-encryption key';
COMMENT ON COLUMN shield.data_keys.kek_id IS 'fingerprint of the key-encryption key that wraps it';
COMMENT ON COLUMN shield.data_keys.created_at IS 'when the key was made';

COMMENT ON TABLE shield.tokens IS 'tokens, their encrypted numbers and what policy needs to know of them; hash partitions of the token';
COMMENT ON COLUMN shield.tokens.tenant_id IS 'whose token it is';
COMMENT ON COLUMN shield.tokens.token IS 'the digits agents dial';
COMMENT ON COLUMN shield.tokens.ciphertext IS 'the encrypted number: opens with the tenant''s data key of key_version, for this tenant and token alone';
COMMENT ON COLUMN shield.tokens.key_version IS 'version of the data key it is encrypted with';
COMMENT ON COLUMN shield.tokens.status IS 'active or revoked; a revoked one is refused like one that does not exist';
COMMENT ON COLUMN shield.tokens.expires_at IS 'from then on it is refused; NULL: never';
COMMENT ON COLUMN shield.tokens.country IS 'the number''s country; NULL: not known';
COMMENT ON COLUMN shield.tokens.region IS 'the number''s region in words; NULL: not known';
COMMENT ON COLUMN shield.tokens.time_zone IS 'the number''s IANA time zone; NULL: not known, or several';
COMMENT ON COLUMN shield.tokens.line_type IS 'mobile, fixed_line and so on; NULL: not known';
COMMENT ON COLUMN shield.tokens.labels IS 'columns of the import the tenant asked to keep; {}: none';
COMMENT ON COLUMN shield.tokens.created_at IS 'when the token was made';
COMMENT ON COLUMN shield.tokens.lot IS 'tokens of one batch, some 32, whose rows in number_refs are found together; NULL: alone';

COMMENT ON COLUMN shield.number_refs.tenant_id IS 'whose number it is';
COMMENT ON COLUMN shield.number_refs.number_index IS 'blind index: HMAC-SHA-256 of the number under the tenant''s index key';
COMMENT ON COLUMN shield.number_refs.index_version IS 'version of the index key';
COMMENT ON COLUMN shield.number_refs.token IS 'the token that stands for the number';
COMMENT ON COLUMN shield.number_refs.lot IS 'the lot of the token';

COMMENT ON TABLE shield.aliases IS 'tenants'' own handles for tokens; a token has any number, an alias one token';
COMMENT ON COLUMN shield.aliases.tenant_id IS 'whose alias it is';
COMMENT ON COLUMN shield.aliases.alias IS 'the tenant''s own handle; never a number';
COMMENT ON COLUMN shield.aliases.token IS 'the token it names';
COMMENT ON COLUMN shield.aliases.lot IS 'the lot of the token; -1: it has none';
COMMENT ON COLUMN shield.aliases.created_at IS 'when the alias was given';

COMMENT ON COLUMN shield.token_space.tenant_id IS 'whose tokens are counted';
COMMENT ON COLUMN shield.token_space.tokens IS 'how many tokens the tenant has, kept exactly';

COMMENT ON COLUMN shield.applied_sql.one IS 'always true: there is one row';
COMMENT ON COLUMN shield.applied_sql.hash IS 'SHA-256 over the names and contents of the SQL files, hexadecimal';
COMMENT ON COLUMN shield.applied_sql.applied_at IS 'when they were applied';
COMMENT ON TABLE shield.alembic_version IS 'the newest table revision that was applied';
COMMENT ON COLUMN shield.alembic_version.version_num IS 'the revision''s number in migrations/versions';

COMMENT ON COLUMN shield.calls.id IS 'the call''s id, drawn by the worker';
COMMENT ON COLUMN shield.calls.tenant_id IS 'whose agent''s call it is';
COMMENT ON COLUMN shield.calls.agent IS 'the agent who called or was reached first; NULL: not authenticated, or nobody yet';
COMMENT ON COLUMN shield.calls.alias IS 'the token''s first alias at that time; NULL: it had none';
COMMENT ON COLUMN shield.calls.dialled_class IS 'what sort of text was dialled when it was no token; the text itself is kept nowhere; NULL: a token';
COMMENT ON COLUMN shield.calls.dialled_length IS 'how many characters were dialled when it was no token; NULL: a token';
COMMENT ON COLUMN shield.calls.channel IS 'FreeSWITCH''s UUID of the leg that was parked into the worker';
COMMENT ON COLUMN shield.calls.gateway IS 'the gateway tried last; NULL: none, refused or inbound';
COMMENT ON COLUMN shield.calls.delivery IS 'edge or direct; NULL: refused or inbound';
COMMENT ON COLUMN shield.calls.state IS 'AUTHORIZED and ANSWERED are in flight, all others final';
COMMENT ON COLUMN shield.calls.hangup_cause IS 'FreeSWITCH''s cause; NULL: not over, or no cause was told';
COMMENT ON COLUMN shield.calls.sip_code IS 'SIP status of the end; NULL: not over, or none was told';
COMMENT ON COLUMN shield.calls.attempts IS 'gateways, or inbound destinations, that were tried';
COMMENT ON COLUMN shield.calls.started_at IS 'when it came to the worker; its partition goes by this';
COMMENT ON COLUMN shield.calls.ringing_at IS 'when the other side first rang; NULL: never';
COMMENT ON COLUMN shield.calls.answered_at IS 'when the other side answered; NULL: never';
COMMENT ON COLUMN shield.calls.ended_at IS 'when it ended; NULL: in flight';
COMMENT ON COLUMN shield.calls.login IS 'the worker''s login, which alone may finish it';
COMMENT ON COLUMN shield.calls.direction IS 'inbound: the customer called; outbound: the agent did';

COMMENT ON COLUMN shield.call_agents.call IS 'the call, calls.id';
COMMENT ON COLUMN shield.call_agents.call_started_at IS 'calls.started_at; its partition goes by this';
COMMENT ON COLUMN shield.call_agents.tenant_id IS 'whose call it is';
COMMENT ON COLUMN shield.call_agents.position IS 'place in the order, from 1';
COMMENT ON COLUMN shield.call_agents.agent IS 'the agent';
COMMENT ON COLUMN shield.call_agents.channel IS 'FreeSWITCH''s UUID of the agent''s leg; NULL: not known';
COMMENT ON COLUMN shield.call_agents.from_at IS 'since when the agent talked to the customer';
COMMENT ON COLUMN shield.call_agents.until_at IS 'until when; NULL: still does, or the worker was lost';

COMMENT ON COLUMN shield.audit_events.id IS 'unique; not quite in order of time, with gaps';
COMMENT ON COLUMN shield.audit_events.at IS 'when its transaction began; its partition goes by this';
COMMENT ON COLUMN shield.audit_events.tenant_id IS 'whose event it is; NULL: nobody''s, or the tenant is unknown';
COMMENT ON COLUMN shield.audit_events.kind IS 'area.event, as permit.redeemed';
COMMENT ON COLUMN shield.audit_events.login IS 'the login that caused it: the server says so, not the client';
COMMENT ON COLUMN shield.audit_events.agent IS 'the agent it is about; NULL: none, or not authenticated';
COMMENT ON COLUMN shield.audit_events.token IS 'the token it is about; NULL: none, or no token of that tenant';
COMMENT ON COLUMN shield.audit_events.call IS 'the call it is about, calls.id; NULL: none';
COMMENT ON COLUMN shield.audit_events.detail IS 'what else the kind says, such as the reason of a refusal; {}: nothing';

COMMENT ON COLUMN shield.permits.permit_hash IS 'SHA-256 of the permit, which the worker alone knew';
COMMENT ON COLUMN shield.permits.call IS 'the call it is for, calls.id';
COMMENT ON COLUMN shield.permits.tenant_id IS 'whose call it is';
COMMENT ON COLUMN shield.permits.agent IS 'whose call it is';
COMMENT ON COLUMN shield.permits.token IS 'the token whose number it is good for';
COMMENT ON COLUMN shield.permits.gateway IS 'the gateway it is good for';
COMMENT ON COLUMN shield.permits.delivery IS 'who may redeem it: edge or direct';
COMMENT ON COLUMN shield.permits.sip_call_id IS 'the SIP Call-ID it is bound to; NULL: to none';
COMMENT ON COLUMN shield.permits.expires_at IS 'from then on it is worth nothing, 10 s after it was minted';

COMMENT ON COLUMN shield.token_usage.tenant_id IS 'whose token it is';
COMMENT ON COLUMN shield.token_usage.token IS 'the token that was called';
COMMENT ON COLUMN shield.token_usage.since IS 'when the window opened';
COMMENT ON COLUMN shield.token_usage.used IS 'calls since then';
COMMENT ON COLUMN shield.agent_usage.tenant_id IS 'whose agent it is';
COMMENT ON COLUMN shield.agent_usage.agent IS 'the agent who called';
COMMENT ON COLUMN shield.agent_usage.since IS 'when the window opened';
COMMENT ON COLUMN shield.agent_usage.used IS 'calls since then';
COMMENT ON COLUMN shield.tenant_usage.tenant_id IS 'whose calls are counted';
COMMENT ON COLUMN shield.tenant_usage.stripe IS 'which of the 16 counters, from 0';
COMMENT ON COLUMN shield.tenant_usage.day IS 'the UTC day that is counted';
COMMENT ON COLUMN shield.tenant_usage.used IS 'calls of that day in this stripe';
COMMENT ON COLUMN shield.mint_buckets.login IS 'the worker''s login';
COMMENT ON COLUMN shield.mint_buckets.stripe IS 'which of its counters, from 0';
COMMENT ON COLUMN shield.mint_buckets.second IS 'the Unix second that is counted';
COMMENT ON COLUMN shield.mint_buckets.used IS 'permits of that second in this stripe';

COMMENT ON COLUMN shield.reveals.id IS 'the reveal''s id';
COMMENT ON COLUMN shield.reveals.tenant_id IS 'whose customer it is about';
COMMENT ON COLUMN shield.reveals.kind IS 'number: the number of a token; calls: the calls of a number';
COMMENT ON COLUMN shield.reveals.index_version IS 'kind calls: version of the index key; NULL: kind number, or it is over';
COMMENT ON COLUMN shield.reveals.case_id IS 'the case it is for';
COMMENT ON COLUMN shield.reveals.reason IS 'why, in the requester''s words';
COMMENT ON COLUMN shield.reveals.state IS 'DRAFT, REQUESTED, APPROVED, OPENED or DENIED';
COMMENT ON COLUMN shield.reveals.requester IS 'the login that asked';
COMMENT ON COLUMN shield.reveals.requester_person IS 'the person that login belonged to';
COMMENT ON COLUMN shield.reveals.approver IS 'the login that approved; NULL: none yet';
COMMENT ON COLUMN shield.reveals.approver_person IS 'the person that login belonged to; NULL: none yet';
COMMENT ON COLUMN shield.reveals.denied_by IS 'the login that denied; NULL: none';
COMMENT ON COLUMN shield.reveals.requested_at IS 'when it was asked for';
COMMENT ON COLUMN shield.reveals.approved_at IS 'when it was approved; NULL: it was not';
COMMENT ON COLUMN shield.reveals.opened_at IS 'when the requester opened it; NULL: not yet';
COMMENT ON COLUMN shield.reveals.disclosed_at IS 'when the answer left the resolver; NULL: not yet';
COMMENT ON COLUMN shield.reveals.expires_at IS 'from then on no further step is taken';
COMMENT ON COLUMN shield.reveal_tickets.ticket_hash IS 'SHA-256 of the ticket';
COMMENT ON COLUMN shield.reveal_tickets.reveal IS 'the reveal, reveals.id';
COMMENT ON COLUMN shield.reveal_tickets.tenant_id IS 'whose reveal it is';
COMMENT ON COLUMN shield.reveal_tickets.step IS 'the step it is good for';
COMMENT ON COLUMN shield.reveal_tickets.login IS 'the revealer''s login it was made for';
COMMENT ON COLUMN shield.reveal_tickets.expires_at IS 'from then on it is worth nothing';
COMMENT ON COLUMN shield.reveal_usage.login IS 'the revealer''s login';
COMMENT ON COLUMN shield.reveal_usage.since IS 'when the window opened';
COMMENT ON COLUMN shield.reveal_usage.used IS 'steps since then';

COMMENT ON TABLE shield.dids IS 'the tenants'' own numbers and whom their callers reach';
COMMENT ON COLUMN shield.dids.did IS 'the number, E.164; a call centre''s own, not secret';
COMMENT ON COLUMN shield.dids.tenant_id IS 'whose number it is';
COMMENT ON COLUMN shield.dids.enabled IS 'whether calls to it are taken';
COMMENT ON COLUMN shield.dids.created_at IS 'when it was first set';
COMMENT ON COLUMN shield.mask_buckets.tenant_id IS 'whose number it is';
COMMENT ON COLUMN shield.mask_buckets.did IS 'the number that was called';
COMMENT ON COLUMN shield.mask_buckets.minute IS 'the Unix minute that is counted';
COMMENT ON COLUMN shield.mask_buckets.used IS 'callers masked in that minute';

COMMENT ON COLUMN shield.audit_blocks.number IS 'the block''s place in the chain, from 1, without gaps';
COMMENT ON COLUMN shield.audit_blocks.signature IS 'Ed25519 signature of the header, 64 bytes';
COMMENT ON COLUMN shield.audit_blocks.last_id IS 'id of its last event; for finding an event''s block; what counts is the header';
COMMENT ON COLUMN shield.audit_blocks.sealed_at IS 'when it was written, by the database''s clock; what counts is the header';
COMMENT ON COLUMN shield.audit_code.hash IS 'SHA-256 of the manifest';
COMMENT ON COLUMN shield.audit_code.manifest IS 'every function, right and policy, as text';
COMMENT ON COLUMN shield.audit_code.first_block IS 'the first block that signed it';

COMMENT ON DOMAIN shield.calls_a_day IS 'calls in 24 hours, 0 or more';
COMMENT ON DOMAIN shield.label_name IS 'a label''s name, 1 to 64 characters';
COMMENT ON COLUMN shield.holds.id IS 'the hold''s id';
COMMENT ON COLUMN shield.holds.tenant_id IS 'whose token is held';
COMMENT ON COLUMN shield.holds.token IS 'the token that is held';
COMMENT ON COLUMN shield.holds.case_id IS 'the case it is held for; a token has one standing hold for each case';
COMMENT ON COLUMN shield.holds.reason IS 'why it is held, in a person''s words';
COMMENT ON COLUMN shield.holds.login IS 'the login that placed the hold';
COMMENT ON COLUMN shield.holds.held_at IS 'since when it stands';
COMMENT ON COLUMN shield.holds.released_by IS 'the login that released it; NULL: it stands';
COMMENT ON COLUMN shield.holds.released_at IS 'when it was released; NULL: it stands';
COMMENT ON COLUMN shield.holds.release_reason IS 'why it was released; NULL: it stands';
COMMENT ON COLUMN shield.erasures.tenant_id IS 'whose token it was';
COMMENT ON COLUMN shield.erasures.token IS 'the token whose number is gone';
COMMENT ON COLUMN shield.erasures.id IS 'the erasure''s id, as its certificate names it';
COMMENT ON COLUMN shield.erasures.case_id IS 'the case it was erased for';
COMMENT ON COLUMN shield.erasures.reason IS 'why it was erased, in a person''s words';
COMMENT ON COLUMN shield.erasures.login IS 'the login that erased it';
COMMENT ON COLUMN shield.erasures.erased_at IS 'when it was erased';
COMMENT ON COLUMN shield.erasures.xid IS 'the transaction that erased it';
COMMENT ON COLUMN shield.label_masks.tenant_id IS 'whose label it is';
COMMENT ON COLUMN shield.label_masks.label IS 'the label''s name';
COMMENT ON COLUMN shield.label_masks.pattern IS 'how its values are shown: clear, hidden, or which characters are kept';

COMMENT ON DOMAIN shield.rekey_work IS 'reencrypt: ciphertexts to the newest data key; reindex: blind indexes under the newest index key';
COMMENT ON COLUMN shield.rekeyings.tenant_id IS 'whose rows';
COMMENT ON COLUMN shield.rekeyings.work IS 'which work';
COMMENT ON COLUMN shield.rekeyings.changed IS 'rows brought to the version so far';
COMMENT ON COLUMN shield.rekeyings.started_at IS 'when the work began';
COMMENT ON COLUMN shield.rekeyings.moved_at IS 'when its last batch was done';
COMMENT ON COLUMN shield.rekeyings.finished_at IS 'when every row had the version; NULL: not yet';

COMMENT ON DOMAIN shield.method IS 'ff1: computed from the token; crm: the tenant''s own service is asked';
COMMENT ON DOMAIN shield.token_prefix IS 'first digits of tokens, 1 to 8';
COMMENT ON COLUMN shield.token_prefixes.prefix IS 'first digits of its tokens';
COMMENT ON COLUMN shield.token_prefixes.tenant_id IS 'whose prefix it is';
COMMENT ON COLUMN shield.token_prefixes.method IS 'how its tokens are decrypted';
COMMENT ON COLUMN shield.token_prefixes.length IS 'digits of a token';
COMMENT ON COLUMN shield.token_prefixes.key_version IS 'the ff1 key; NULL: another method';
COMMENT ON COLUMN shield.token_prefixes.countries IS 'ISO 3166 codes its numbers may be of';
COMMENT ON COLUMN shield.token_prefixes.ranges IS 'what its numbers begin with, country code first; {}: anything';
COMMENT ON COLUMN shield.token_prefixes.line_types IS 'line types its numbers may be of';
COMMENT ON COLUMN shield.token_prefixes.created_at IS 'when it was added';
COMMENT ON COLUMN shield.token_prefixes.retired_at IS 'since when its tokens stand for nobody; NULL: they do';
COMMENT ON COLUMN shield.rowless_tokens.tenant_id IS 'whose token it is';
COMMENT ON COLUMN shield.rowless_tokens.token IS 'the digits agents dial';
COMMENT ON COLUMN shield.rowless_tokens.status IS 'active or revoked';
COMMENT ON COLUMN shield.rowless_tokens.expires_at IS 'when it ends; NULL: never';
COMMENT ON COLUMN shield.rowless_tokens.per_day IS 'its own cap; NULL: its tenant''s; the largest int: none';
COMMENT ON COLUMN shield.rowless_tokens.created_at IS 'when something was first said of it';

-- A view's column says what its table's column of that name says, unless the view's own file says something else.
DO $$
DECLARE
    v_column record;
BEGIN
    FOR v_column IN SELECT v.oid::regclass AS view, a.attname, min(d.description) AS comment
            FROM pg_class v JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
            JOIN pg_rewrite r ON r.ev_class = v.oid
            JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = r.oid
                AND p.refclassid = 'pg_class'::regclass AND p.refobjsubid > 0 AND p.refobjid <> v.oid
            JOIN pg_attribute s ON s.attrelid = p.refobjid AND s.attnum = p.refobjsubid AND s.attname = a.attname
            JOIN pg_description d ON d.objoid = s.attrelid AND d.objsubid = s.attnum AND d.classoid = 'pg_class'::regclass
            WHERE v.relkind = 'v' AND v.relnamespace = 'dba'::regnamespace AND col_description(v.oid, a.attnum) IS NULL
            GROUP BY 1, 2 HAVING count(DISTINCT d.description) = 1 LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', v_column.view, v_column.attname, v_column.comment);
    END LOOP;
    FOR v_column IN SELECT v.oid::regclass AS view FROM pg_class v JOIN pg_attribute a ON a.attrelid = v.oid
            WHERE v.relkind = 'v' AND v.relnamespace = 'dba'::regnamespace AND a.attname = 'tenant'
            AND col_description(v.oid, a.attnum) IS NULL LOOP
        EXECUTE format('COMMENT ON COLUMN %s.tenant IS %L', v_column.view, 'whose row it is: the tenant''s name');
    END LOOP;
END
$$;
COMMENT ON COLUMN shield.api_keys.last_used_at IS 'when it was last accepted or, since it is over, tried; to the minute; NULL: never';
