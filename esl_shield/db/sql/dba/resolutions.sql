CREATE OR REPLACE VIEW dba.resolutions AS
SELECT e.id, e.at, t.name AS tenant, e.login, e.agent, e.token, e.call, e.detail ->> 'gateway' AS gateway,
    e.detail ->> 'delivery' AS delivery,
    CASE e.kind WHEN 'permit.redeemed' THEN 'resolved' WHEN 'permit.refused_number' THEN 'withheld' ELSE 'refused' END AS outcome,
    e.detail ->> 'reason' AS reason
FROM shield.audit_events e LEFT JOIN shield.tenants t ON t.id = e.tenant_id
WHERE e.kind IN ('permit.redeemed', 'permit.refused', 'permit.refused_number');
COMMENT ON VIEW dba.resolutions IS 'who exchanged which permit for which token''s number, never the number; reveals are in dba.reveals. Cost: reads the time that a condition on "at" leaves, all there is without one; there is no index on token or agent';
COMMENT ON COLUMN dba.resolutions.tenant IS 'the token''s tenant; NULL: the permit was unknown, shown only to logins that see all tenants';
COMMENT ON COLUMN dba.resolutions.login IS 'the resolver''s login that asked';
COMMENT ON COLUMN dba.resolutions.agent IS 'whose call it was; NULL: the permit was unknown';
COMMENT ON COLUMN dba.resolutions.token IS 'whose number was asked for; NULL: the permit was unknown';
COMMENT ON COLUMN dba.resolutions.call IS 'the call the permit was minted for, dba.calls.id; NULL: the permit was unknown';
COMMENT ON COLUMN dba.resolutions.gateway IS 'the gateway the permit was minted for; NULL: refused';
COMMENT ON COLUMN dba.resolutions.delivery IS 'edge or direct; NULL: refused';
COMMENT ON COLUMN dba.resolutions.outcome IS 'resolved: the ciphertext was handed to the resolver; withheld: the resolver then kept the number back (a row of its own); refused: nothing was handed out';
COMMENT ON COLUMN dba.resolutions.reason IS 'why it was refused or withheld; NULL: resolved';
COMMENT ON COLUMN dba.resolutions.id IS 'the audit event''s id';
