-- SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104) in plain Lua, for Lua 5.1 to 5.4 and LuaJIT: mod_lua is built
-- against whichever the system has, and none of them can be counted on to bring a crypto library.

local TWO32 = 4294967296

-- band, bxor (two arguments), ror and shr on 32-bit words, by the means this interpreter has.
local function operators()
  if rawget(_G, "bit32") then
    return bit32.band, bit32.bxor, bit32.rrotate, bit32.rshift
  end
  if rawget(_G, "jit") then
    local bit = require("bit") -- its results are signed: `% TWO32` brings them back
    return bit.band, bit.bxor, bit.ror, bit.rshift
  end
  local native = (loadstring or load)([[
    return function(a, b) return a & b end,
           function(a, b) return a ~ b end,
           function(a, n) return (a >> n | a << (32 - n)) & 0xffffffff end,
           function(a, n) return a >> n end]])
  if native then
    return native()
  end
  local function bitwise(pick) -- Lua 5.1 has no operators: bit by bit
    return function(a, b)
      local result, place = 0, 1
      while a > 0 or b > 0 do
        local x, y = a % 2, b % 2
        if pick(x, y) then result = result + place end
        a, b, place = (a - x) / 2, (b - y) / 2, place * 2
      end
      return result
    end
  end
  local function shr(a, n) return math.floor(a / 2 ^ n) end
  return bitwise(function(x, y) return x + y == 2 end),
         bitwise(function(x, y) return x ~= y end),
         function(a, n) return shr(a, n) + (a % 2 ^ n) * 2 ^ (32 - n) end,
         shr
end

local band, bxor, ror, shr = operators()

local ROUND = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

local function bytes_of(word)
  return string.char(shr(word, 24) % 256, shr(word, 16) % 256, shr(word, 8) % 256, word % 256)
end

local function compress(state, block)
  local w = {}
  for t = 1, 16 do
    local a, b, c, d = block:byte(4 * t - 3, 4 * t)
    w[t] = ((a * 256 + b) * 256 + c) * 256 + d
  end
  for t = 17, 64 do
    local x, y = w[t - 15], w[t - 2]
    local s0 = bxor(bxor(ror(x, 7), ror(x, 18)), shr(x, 3))
    local s1 = bxor(bxor(ror(y, 17), ror(y, 19)), shr(y, 10))
    w[t] = (w[t - 16] + s0 + w[t - 7] + s1) % TWO32
  end
  local a, b, c, d, e, f, g, h = state[1], state[2], state[3], state[4], state[5], state[6], state[7], state[8]
  for t = 1, 64 do
    local s1 = bxor(bxor(ror(e, 6), ror(e, 11)), ror(e, 25))
    local choose = bxor(g, band(e, bxor(f, g)))
    local t1 = h + s1 % TWO32 + choose % TWO32 + ROUND[t] + w[t]
    local s0 = bxor(bxor(ror(a, 2), ror(a, 13)), ror(a, 22))
    local majority = bxor(band(a, b), band(c, bxor(a, b)))
    local t2 = s0 % TWO32 + majority % TWO32
    a, b, c, d, e, f, g, h = (t1 + t2) % TWO32, a, b, c, (d + t1) % TWO32, e, f, g
  end
  for i, word in ipairs({ a, b, c, d, e, f, g, h }) do
    state[i] = (state[i] + word) % TWO32
  end
end

local sha256 = {}

-- The 32 bytes of SHA-256 over `message` (at most 2^29 bytes).
function sha256.digest(message)
  local state = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }
  local padding = "\128" .. ("\0"):rep((55 - #message) % 64) .. ("\0"):rep(4) .. bytes_of(#message * 8)
  local padded = message .. padding
  for start = 1, #padded, 64 do
    compress(state, padded:sub(start, start + 63))
  end
  local words = {}
  for i, word in ipairs(state) do words[i] = bytes_of(word) end
  return table.concat(words)
end

local function mask(key, value)
  return (key:gsub(".", function(c) return string.char(bxor(c:byte(), value) % 256) end))
end

-- HMAC-SHA-256 of `message` under `key`, as 64 lower-case hex digits.
function sha256.hmac_hex(key, message)
  if #key > 64 then key = sha256.digest(key) end
  key = key .. ("\0"):rep(64 - #key)
  local inner = sha256.digest(mask(key, 0x36) .. message)
  local outer = sha256.digest(mask(key, 0x5c) .. inner)
  return (outer:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

return sha256
