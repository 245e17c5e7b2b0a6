-- Exactly these rights: whatever else was granted on our functions and views is taken away first.
DO $$
DECLARE
    v_roles text := (
        SELECT string_agg(quote_ident(r.rolname), ', ') FROM pg_catalog.pg_roles r
        WHERE r.rolname ^@ 'shield_' AND r.rolname <> 'shield_owner' AND NOT r.rolcanlogin
    );
BEGIN
    EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA shield, dba FROM PUBLIC, ' || v_roles;
    EXECUTE 'REVOKE ALL ON ALL SEQUENCES IN SCHEMA shield FROM PUBLIC, ' || v_roles;
    EXECUTE 'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA shield, shield_api FROM PUBLIC, ' || v_roles;
    EXECUTE 'REVOKE ALL ON SCHEMA shield, shield_api, dba FROM PUBLIC, ' || v_roles;
END $$;

GRANT USAGE ON SCHEMA shield_api TO
    shield_worker,
    shield_resolver,
    shield_masker,
    shield_seeder,
    shield_revealer,
    shield_scanner,
    shield_canary,
    shield_sealer,
    shield_steward,
    shield_eraser,
    shield_housekeeper,
    shield_rekeyer,
    shield_intake,
    shield_reaper,
    shield_dispatcher,
    shield_dialler,
    shield_api;
GRANT USAGE ON SCHEMA dba TO
    shield_dialler,
    shield_auditor,
    shield_seeder,
    shield_revealer,
    shield_steward,
    shield_eraser;

GRANT EXECUTE ON FUNCTION
    shield_api.authorize_call, shield_api.authorize_dial, shield_api.authorize_click, shield_api.authorize_transfer,
    shield_api.next_permit, shield_api.call_answered, shield_api.calls_answered, shield_api.call_joined, shield_api.call_left,
    shield_api.finish_call, shield_api.finish_calls,
    shield_api.accept_inbound_call, shield_api.inbound_answered, shield_api.worker_beat TO shield_worker;
GRANT EXECUTE ON FUNCTION
    shield_api.redeem_permits, shield_api.tenant_data_key, shield_api.note_refusal, shield_api.kek_ids,
    shield_api.missing_data_keys TO shield_resolver;
GRANT EXECUTE ON FUNCTION shield_api.masking_tenant, shield_api.mask_number, shield_api.kek_ids TO shield_masker;
GRANT EXECUTE ON FUNCTION
    shield_api.seeding_tenant, shield_api.seed_tokens, shield_api.seed_batch, shield_api.find_seeded, shield_api.token_info,
    shield_api.set_token TO shield_seeder;
GRANT EXECUTE ON FUNCTION
    shield_api.start_leakscan, shield_api.leakscan_filter, shield_api.find_leaks, shield_api.finish_leakscan
    TO shield_scanner;
GRANT EXECUTE ON FUNCTION shield_api.seeding_tenant, shield_api.seed_tokens, shield_api.seed_batch, shield_api.start_canary,
    shield_api.canary_calls TO shield_canary;
GRANT EXECUTE ON FUNCTION
    shield_api.sealing_state, shield_api.unsealed_events, shield_api.sealing_lag, shield_api.append_block,
    shield_api.sealed_heads, shield_api.site_figures, shield_api.locked_figures, shield_api.webhook_figures
    TO shield_sealer;
GRANT EXECUTE ON FUNCTION shield_api.keep_months TO shield_housekeeper;
GRANT EXECUTE ON FUNCTION shield_api.take_cdr, shield_api.settle_cdrs TO shield_intake;
GRANT EXECUTE ON FUNCTION shield_api.open_calls, shield_api.call_gone, shield_api.mint_mark, shield_api.watch_minting
    TO shield_reaper;
GRANT EXECUTE ON FUNCTION
    shield_api.take_webhook_events, shield_api.webhook_taken, shield_api.webhook_failed, shield_api.bury_webhook_events
    TO shield_dispatcher;

GRANT EXECUTE ON FUNCTION
    shield_api.begin_rekeyings, shield_api.rekey_page, shield_api.reencrypt_tokens, shield_api.reindex_tokens,
    shield_api.finish_rekeying, shield_api.seeding_tenant, shield_api.tenant_data_key TO shield_rekeyer;

GRANT EXECUTE ON FUNCTION
    shield_api.request_reveal, shield_api.approve_reveal, shield_api.deny_reveal, shield_api.open_reveal TO shield_revealer;
GRANT EXECUTE ON FUNCTION
    shield_api.redeem_reveal, shield_api.reveal_index_key, shield_api.bind_reveal, shield_api.note_reveal TO shield_resolver;

GRANT SELECT ON dba.tenants, dba.reveals TO shield_revealer;
GRANT SELECT ON dba.reveals TO shield_auditor;
GRANT SELECT ON dba.tenants, dba.tokens, dba.dids TO shield_auditor, shield_seeder;
GRANT SELECT ON dba.calls, dba.call_agents, dba.audit_events, dba.keys, dba.rekeyings TO shield_auditor;
GRANT SELECT ON dba.audit_lines, dba.audit_blocks, dba.audit_code, dba.sealing TO shield_auditor;

GRANT EXECUTE ON FUNCTION shield_api.find_tokens, shield_api.replace_numbers TO shield_seeder;
GRANT EXECUTE ON FUNCTION
    shield_api.hold_token, shield_api.release_token, shield_api.restore_token, shield_api.set_token_cap TO shield_steward;
GRANT EXECUTE ON FUNCTION shield_api.list_numbers, shield_api.unlist_numbers TO shield_seeder;
GRANT EXECUTE ON FUNCTION shield_api.do_not_call_lists, shield_api.do_not_call_key, shield_api.refuse_listed TO shield_resolver;
GRANT EXECUTE ON FUNCTION shield_api.do_not_call_page, shield_api.rekey_do_not_call TO shield_rekeyer;
GRANT EXECUTE ON FUNCTION shield_api.explain_call, shield_api.unlock_agent TO shield_steward;
GRANT EXECUTE ON FUNCTION shield_api.erase_tokens TO shield_eraser;
GRANT SELECT ON dba.tenants, dba.holds, dba.erasures TO shield_auditor, shield_steward, shield_eraser;
GRANT SELECT ON dba.token_caps, dba.tenant_caps TO shield_auditor, shield_steward;
GRANT SELECT ON dba.do_not_call TO shield_auditor, shield_seeder;
GRANT SELECT ON dba.policies, dba.agent_locks TO shield_auditor, shield_steward;
GRANT SELECT ON dba.label_masks TO shield_auditor, shield_seeder;
GRANT SELECT ON dba.expiring_tokens, dba.imports, dba.key_use, dba.logins, dba.months, dba.permits_unredeemed,
    dba.resolutions, dba.rights, dba.storage, dba.token_inventory, dba.token_inventory_estimate, dba.unused_tokens
    TO shield_auditor;
GRANT SELECT ON dba.webhooks, dba.webhook_events TO shield_auditor;

GRANT EXECUTE ON FUNCTION shield_api.grant_permission, shield_api.revoke_permission, shield_api.begin_click,
    shield_api.end_click TO shield_dialler;
GRANT SELECT ON dba.tenants, dba.dialling, dba.dial_permissions, dba.clicks TO shield_dialler, shield_auditor;

GRANT EXECUTE ON FUNCTION shield_api.token_method, shield_api.method_key, shield_api.missing_method_keys TO shield_resolver;
GRANT EXECUTE ON FUNCTION shield_api.computing_prefix TO shield_seeder;
GRANT SELECT ON dba.token_prefixes TO shield_auditor, shield_seeder, shield_steward, shield_eraser;

GRANT EXECUTE ON FUNCTION
    shield_api.api_token, shield_api.api_change_token, shield_api.api_calls, shield_api.api_call, shield_api.api_tenant,
    shield_api.api_grant_permission, shield_api.api_revoke_permission, shield_api.api_permission,
    shield_api.api_permissions, shield_api.api_begin_click, shield_api.api_end_click, shield_api.api_click,
    shield_api.api_block, shield_api.api_blocklist TO shield_api;
GRANT EXECUTE ON FUNCTION shield_api.api_tokenising, shield_api.api_tokenised,
    shield_api.api_tokenising_failed TO shield_seeder;
GRANT SELECT ON dba.api_keys, dba.blocked_tokens TO shield_auditor;
