"""What PostgreSQL's own catalog says of the schema: the rules hold for every object, also those added later."""

from __future__ import annotations

ROLES = (
    "shield_worker", "shield_resolver", "shield_masker", "shield_seeder", "shield_auditor", "shield_revealer",
    "shield_scanner", "shield_canary", "shield_sealer", "shield_steward", "shield_eraser",
    "shield_housekeeper", "shield_rekeyer", "shield_intake", "shield_reaper", "shield_dialler",
    "shield_api",
)  # fmt: skip
EXECUTE = {
    "shield_worker": {
        *("accept_inbound_call", "authorize_call", "authorize_transfer", "call_answered", "call_joined", "call_left"),
        *("finish_call", "inbound_answered", "next_permit", "worker_beat", "authorize_dial", "authorize_click"),
        *("calls_answered", "finish_calls"),
    },
    "shield_resolver": {
        "kek_ids", "note_refusal", "redeem_permits", "tenant_data_key", "redeem_reveal",
        "reveal_index_key", "bind_reveal", "note_reveal", "missing_data_keys", "token_method", "method_key",
        "missing_method_keys", *("do_not_call_lists", "do_not_call_key", "refuse_listed"),
    },
    "shield_masker": {"kek_ids", "mask_number", "masking_tenant"},
    "shield_seeder": {
        "seed_batch", "seed_tokens", "seeding_tenant", "set_token", "token_info", "find_tokens", "replace_numbers",
        "computing_prefix", "api_tokenising", "api_tokenised", "api_tokenising_failed",
        "list_numbers", "unlist_numbers", "find_seeded",
    },
    "shield_auditor": set(),
    "shield_revealer": {"request_reveal", "approve_reveal", "deny_reveal", "open_reveal"},
    "shield_scanner": {"find_leaks", "finish_leakscan", "leakscan_filter", "start_leakscan"},
    "shield_canary": {"canary_calls", "seed_batch", "seed_tokens", "seeding_tenant", "start_canary"},
    "shield_sealer": {
        "append_block", "sealed_heads", "sealing_lag", "sealing_state", "site_figures", "locked_figures",
        "unsealed_events", "webhook_figures",
    },
    "shield_steward": {"hold_token", "release_token", "restore_token", "set_token_cap", "explain_call", "unlock_agent"},
    "shield_eraser": {"erase_tokens"},
    "shield_housekeeper": {"keep_months"},
    "shield_rekeyer": {
        "begin_rekeyings", "finish_rekeying", "reencrypt_tokens", "reindex_tokens", "rekey_page", "seeding_tenant",
        "tenant_data_key", "do_not_call_page", "rekey_do_not_call",
    },
    "shield_intake": {"settle_cdrs", "take_cdr"},
    "shield_reaper": {"call_gone", "open_calls", "mint_mark", "watch_minting"},
    "shield_dialler": {"begin_click", "end_click", "grant_permission", "revoke_permission"},
    "shield_api": {
        *("api_call", "api_calls", "api_change_token", "api_token", "api_tenant", "api_grant_permission"),
        *("api_revoke_permission", "api_permission", "api_permissions", "api_begin_click", "api_end_click"),
        *("api_click", "api_block", "api_blocklist"),
    },
    "shield_dispatcher": {"take_webhook_events", "webhook_taken", "webhook_failed", "bury_webhook_events"},
}  # fmt: skip
SELECT = {
    "shield_worker": set(),
    "shield_resolver": set(),
    "shield_masker": set(),
    "shield_seeder": {"dids", "do_not_call", "label_masks", "tenants", "token_prefixes", "tokens"},
    "shield_auditor": {
        *("audit_blocks", "audit_code", "audit_events", "audit_lines", "call_agents", "calls", "dids", "keys"),
        *("api_keys", "blocked_tokens", "reveals", "sealing", "tenants", "tokens"),
        *("holds", "erasures", "label_masks", "token_caps", "tenant_caps"),
        *("expiring_tokens", "imports", "key_use", "logins", "months", "permits_unredeemed", "resolutions", "rights"),
        *("rekeyings", "storage", "token_prefixes", "token_inventory", "token_inventory_estimate", "unused_tokens"),
        *("clicks", "dial_permissions", "dialling", "webhooks", "webhook_events", "agent_locks", "do_not_call"),
        "policies",
    },
    "shield_revealer": {"reveals", "tenants"},
    "shield_scanner": set(),
    "shield_canary": set(),
    "shield_sealer": set(),
    "shield_steward": {
        *("erasures", "holds", "tenants", "tenant_caps", "token_caps", "token_prefixes", "policies", "agent_locks"),
    },
    "shield_eraser": {"erasures", "holds", "tenants", "token_prefixes"},
    "shield_housekeeper": set(),
    "shield_rekeyer": set(),
    "shield_intake": set(),
    "shield_reaper": set(),
    "shield_dialler": {"clicks", "dial_permissions", "dialling", "tenants"},
    "shield_api": set(),
    "shield_dispatcher": set(),
}
USAGE = {
    "shield_worker": {"shield_api"},
    "shield_resolver": {"shield_api"},
    "shield_masker": {"shield_api"},
    "shield_seeder": {"shield_api", "dba"},
    "shield_auditor": {"dba"},
    "shield_revealer": {"shield_api", "dba"},
    "shield_scanner": {"shield_api"},
    "shield_canary": {"shield_api"},
    "shield_sealer": {"shield_api"},
    "shield_steward": {"shield_api", "dba"},
    "shield_eraser": {"shield_api", "dba"},
    "shield_housekeeper": {"shield_api"},
    "shield_rekeyer": {"shield_api"},
    "shield_intake": {"shield_api"},
    "shield_reaper": {"shield_api"},
    "shield_dialler": {"shield_api", "dba"},
    "shield_api": {"shield_api"},
    "shield_dispatcher": {"shield_api"},
}
SCHEMAS = "('shield', 'shield_api', 'dba')"
# Every right anybody but the owner has, by object: (grantee or 'public', right).
RIGHTS = "coalesce(nullif(a.grantee::regrole::text, '-'), 'public'), a.privilege_type"


def test_every_function_is_a_definer_of_the_owner_with_a_fixed_path(database):
    """Each function in shield_api is SECURITY DEFINER, owned by shield_owner, and pins its search_path."""
    rows = database.query(
        "SELECT proname, prosecdef, proowner::regrole::text, proconfig FROM pg_proc"
        " WHERE pronamespace = 'shield_api'::regnamespace"
    )
    assert {row[0] for row in rows} >= set().union(*EXECUTE.values())
    for name, definer, owner, settings in rows:
        assert definer, name
        assert owner == "shield_owner", name
        assert "search_path=pg_catalog, pg_temp" in settings, name


def test_every_helper_pins_its_path_and_belongs_to_the_owner(database):
    """Each helper in shield is owned by shield_owner and pins its search_path."""
    rows = database.query(
        "SELECT proname, proowner::regrole::text, proconfig FROM pg_proc WHERE pronamespace = 'shield'::regnamespace"
    )
    assert rows
    for name, owner, settings in rows:
        assert owner == "shield_owner", name
        assert "search_path=pg_catalog, pg_temp" in settings, name


def test_functions_never_overload(database):
    """A name stands for one signature; a changed one gets a new name."""
    assert (
        database.query(
            f"SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text IN {SCHEMAS}"
            " GROUP BY 1 HAVING count(*) > 1"
        )
        == []
    )


def test_the_rights_on_functions_are_exactly_these(database):
    """Nobody else, PUBLIC included, executes anything."""
    rows = database.query(
        f"SELECT {RIGHTS}, p.pronamespace::regnamespace::text, p.proname FROM pg_proc p,"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        f" WHERE p.pronamespace::regnamespace::text IN {SCHEMAS} AND a.grantee <> p.proowner"
    )
    expected = {(role, "EXECUTE", "shield_api", name) for role, names in EXECUTE.items() for name in names}
    assert set(rows) == expected


def test_the_rights_on_tables_and_views_are_exactly_these(database):
    """Nobody but the owner has any right on a table, partition or sequence; views are read by those named."""
    rows = database.query(
        f"SELECT {RIGHTS}, c.relnamespace::regnamespace::text, c.relname FROM pg_class c,"
        " aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\","
        " c.relowner))) a"
        f" WHERE c.relnamespace::regnamespace::text IN {SCHEMAS} AND a.grantee <> c.relowner"
    )
    assert set(rows) == {(role, "SELECT", "dba", view) for role, views in SELECT.items() for view in views}
    columns = "SELECT attrelid::regclass FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid > 16384"
    assert database.query(columns) == []


def test_the_rights_on_schemas_are_exactly_these(database):
    """Nobody but the owner reaches the schema of the tables, and nobody creates anything."""
    rows = database.query(
        f"SELECT {RIGHTS}, n.nspname FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a"
        f" WHERE n.nspname IN {SCHEMAS} AND a.grantee <> n.nspowner"
    )
    assert set(rows) == {(role, "USAGE", schema) for role, schemas in USAGE.items() for schema in schemas}


def test_everything_belongs_to_the_owner(database):
    """Tables, views, sequences and schemas, whoever ran the upgrade."""
    assert (
        database.query(
            f"SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text IN {SCHEMAS}"
            " AND relowner <> 'shield_owner'::regrole"
        )
        == []
    )
    owners = f"SELECT DISTINCT nspowner::regrole::text FROM pg_namespace WHERE nspname IN {SCHEMAS}"
    assert database.query(owners) == [("shield_owner",)]


def test_every_table_forces_row_level_security(database):
    """All tables and partitions, save Alembic's own, which holds no tenant's rows."""
    rows = database.query(
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'shield'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'"
    )
    assert len(rows) > 60
    assert [name for name, enabled, forced in rows if not (enabled and forced)] == []


def test_every_policy_is_keyed_on_session_user(database):
    """No policy reads a setting or current_user, none is for all rows, and partitions have none of their own."""
    rows = database.query(
        "SELECT tablename, policyname, coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies"
    )
    assert {"tokens", "calls", "audit_events", "permits", "logins"} <= {row[0] for row in rows}
    for table, policy, condition in rows:
        assert "SESSION_USER" in condition.upper(), (table, policy)
        assert "current_setting" not in condition, (table, policy)
        assert "CURRENT_USER" not in condition.upper(), (table, policy)
        assert not table[-1].isdigit(), (table, policy)
        assert not table.endswith("_default"), (table, policy)


def test_the_roles_are_groups_without_powers(database):
    """No role of ours logs in, is a superuser, bypasses row security or makes roles and databases."""
    rows = database.query(
        "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
        " WHERE rolname = ANY (%s)",
        ["shield_owner", *ROLES],
    )
    assert len(rows) == 1 + len(ROLES)
    assert all(not any(powers) for _, *powers in rows)


def test_new_functions_of_the_owner_are_nobodys(database):
    """Default privileges give PUBLIC no right on functions that do not exist yet."""
    with database.connect().cursor() as cursor:
        cursor.execute("SET ROLE shield_owner")
        cursor.execute("CREATE FUNCTION shield_api.later() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        cursor.execute("SELECT has_function_privilege('shield_worker', 'shield_api.later()', 'EXECUTE')")
        assert cursor.fetchall() == [(False,)]


def test_permits_do_not_survive_a_crash(database):
    """The table is unlogged; calls, audit events and tokens are not."""
    rows = database.query("SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'")
    assert {name for (name,) in rows} == {
        *("permits", "mint_buckets", "mask_buckets", "reveal_tickets", "worker_beats", "wrong_dials"),
    }
