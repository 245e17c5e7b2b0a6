-- esl_shield.lua PERMIT TOKEN GATEWAY [SHOWN [LEG]]: direct delivery. Exchanges the permit for the number and bridges the
-- call. LEG is the UUID of the b-leg to be, whose answer disarms the alarm of an agent's leg that was answered before.
--
-- Keeps: the number is in Lua's memory and on the b-leg only. It is never an argument of an application or of the
-- API, never a variable of the agent's leg, never logged. Anything that is not exactly right ends without a call.
--
-- Needs mod_lua, mod_curl and two global variables: shield_resolver_url and shield_secret_file.
-- Leaves on the agent's leg, which stays up unless a conversation took place:
--   shield_result  bridged | failed (the carrier's side) | refused | destination | away (the resolver's)
--   shield_cause   hangup cause of the carrier's leg, e.g. USER_BUSY

package.path = freeswitch.getGlobalVariable("script_dir") .. "/?.lua;" .. package.path
local sha256 = require("esl_shield.sha256")

-- What a carrier can fill with text of its own and mod_sofia copies to the agent's leg (sofia.c:1014, 1040, 6654,
-- sofia_glue.c:1897). Cleared before the agent's CDR is written.
local CARRIER_TEXT = {
  "sip_invite_failure_phrase", "sip_hangup_phrase", "sip_reason", "sip_603plus_reason", "switch_m_sdp",
}

local function read_secret()
  local path = freeswitch.getGlobalVariable("shield_secret_file")
  local file = path and io.open(path, "r")
  local secret = ((file and file:read("*l")) or ""):match("^(%S+)%s*$")
  if file then file:close() end
  if not secret or #secret < 16 then
    freeswitch.consoleLog("ERR", "esl_shield: shield_secret_file names no readable secret of 16 or more characters\n")
    return nil
  end
  return secret
end

-- The Request-URI for this permit, or nil and what shield_result says instead. Signs with the secret, because the API
-- event would show the secret itself.
local function redeem(permit, token, gateway)
  local url, secret = freeswitch.getGlobalVariable("shield_resolver_url"), read_secret()
  if not url or not secret then return nil, "away" end
  local seconds = ("%d"):format(os.time())
  local signature = sha256.hmac_hex(secret, table.concat({ seconds, permit, token, gateway }, "|"))
  local answer = freeswitch.API():executeString(table.concat({
    "curl", url, "json secure connect-timeout 1 timeout 2",
    "append_headers X-Shield-Signature:" .. seconds .. "." .. signature,
    "content-type application/x-www-form-urlencoded",
    "post permit=" .. permit .. "&token=" .. token .. "&gateway=" .. gateway .. "&call=",
  }, " ")) or ""
  local whole = answer:find('"exit_code":"0"', 1, true)
  local status, body = answer:match('"status_code":"(%d+)"'), answer:match('"body":"([^"]*)"') or ""
  if whole and status == "200" and body:find("^sip:%+?%d+@[%w%.%-]+:%d+$") then return body end
  if whole and status == "403" then return nil, "destination" end
  if whole and status == "404" then return nil, "refused" end
  return nil, "away"
end

-- Bridges the agent to `uri` and returns shield_result and shield_cause. The dial string names the token; the b-leg's
-- variables are read by mod_sofia alone. call_timeout on the agent's leg limits the ringing (switch_ivr_originate.c:2173).
local function call(uri, token, gateway, shown, leg)
  -- With a notice to the customer call_timeout has room for it, and this is how long the customer may ring.
  local ring_s = (session:getVariable("shield_ring_s") or ""):match("^%d+$")
  local customer = freeswitch.Session("[sip_invite_req_uri=" .. uri
    .. ",origination_callee_id_number=" .. shown .. ",origination_callee_id_name=" .. shown
    .. (ring_s and ",leg_timeout=" .. ring_s or "")
    .. (leg and ",origination_uuid=" .. leg .. ",api_on_answer='sched_del " .. session:get_uuid() .. "'" or "")
    .. ",shield_side=customer,force_transfer_context=shield_transfers"
    .. ",ignore_display_updates=true,sip_copy_custom_headers=false,process_cdr=false,outbound_redirect_fatal=true]"
    .. "sofia/gateway/" .. gateway .. "/" .. token, session)
  if not customer:ready() then
    local cause = customer:hangupCause()
    return "failed", cause ~= "SUCCESS" and cause or "NORMAL_CLEARING" -- SUCCESS: answered and gone at once
  end
  freeswitch.bridge(session, customer)
  -- The object's end hangs its leg up. Once bridged, FreeSWITCH sees to that itself, and a transferred customer talks on.
  if customer:getVariable("last_bridge_to") then customer:setAutoHangup(false) end
  local cause = customer:getVariable("hangup_cause") or session:getVariable("bridge_hangup_cause")
  return customer:answered() and "bridged" or "failed", cause or "NORMAL_CLEARING"
end

local function run(permit, token, gateway, shown, leg)
  if not (permit:find("^" .. ("%x"):rep(32) .. "$") and token:find("^%d+$") and gateway:find("^[%w._-]+$")
      and shown:find("^[%w+._-]+$") and (not leg or leg:find("^[%x-]+$") and #leg == 36)) then
    return "refused", "CALL_REJECTED"
  end
  local uri, problem = redeem(permit, token, gateway)
  if not uri then return problem, problem == "away" and "NORMAL_TEMPORARY_FAILURE" or "CALL_REJECTED" end
  if not session:ready() then return "failed", "ORIGINATOR_CANCEL" end
  return call(uri, token, gateway, shown, leg)
end

local ran, result, cause = pcall(run, argv[1] or "", argv[2] or "", argv[3] or "", argv[4] or argv[2] or "", argv[5])
if not ran then -- the error's text could quote a value: it is dropped
  freeswitch.consoleLog("ERR", "esl_shield: the script failed\n")
  result, cause = "away", "NORMAL_TEMPORARY_FAILURE"
end
for _, name in ipairs(CARRIER_TEXT) do session:setVariable(name, "") end
session:setVariable("shield_result", result)
session:setVariable("shield_cause", cause)
