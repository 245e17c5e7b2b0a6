"""Dial permissions for tests of tokens that need one."""

from __future__ import annotations

GRANT = (
    "INSERT INTO shield.dial_permissions (id, tenant_id, token, valid_from, valid_until)"
    " SELECT gen_random_uuid(), t.id, %s, now(), now() + interval '1 hour' FROM shield.tenants t WHERE t.name = %s"
)


def grant(run, tenant: str, token: str) -> None:
    """Let every agent of a tenant dial a token for an hour; ``run`` executes a statement as the administrator."""
    run(GRANT, token, tenant)
