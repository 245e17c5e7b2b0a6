-- Functions of the release before the last, which no running worker calls any more: DROP FUNCTION IF EXISTS ...
DROP FUNCTION IF EXISTS shield_api.redeem_permit;
DROP FUNCTION IF EXISTS shield.may_redeem;
DROP FUNCTION IF EXISTS shield.dial_facts;
