CREATE OR REPLACE VIEW dba.reveals AS
SELECT r.id, t.name AS tenant, r.kind, r.token, r.case_id, r.reason,
    CASE WHEN r.state IN ('DRAFT', 'REQUESTED', 'APPROVED') AND r.expires_at <= clock_timestamp() THEN 'EXPIRED'
        ELSE r.state END AS state,
    r.requester, r.requester_person, r.approver, r.approver_person, r.denied_by,
    r.requested_at, r.approved_at, r.opened_at, r.disclosed_at, r.expires_at
FROM shield.reveals r JOIN shield.tenants t ON t.id = r.tenant_id;
COMMENT ON VIEW dba.reveals IS 'who asked what for which case, who approved it, when it was opened; neither number nor index';
COMMENT ON COLUMN dba.reveals.id IS 'the reveal''s id';
