-- Replaces what is kept of an ended round by its summary; the whole of it lies in a blob by then.
--
-- KEYS[1] goal     hash  round, counters
-- KEYS[2] due      zset  not touched: an ended round has nothing open
-- ARGV[1] now      ms, or '' for the time of Redis
-- ARGV[2] round    number
-- ARGV[3] keep     how many rounds before the present one stay whole
-- ARGV[4] summary  JSON of the round, with the hash of its blob
--
-- returns {COMPACTED} or {KEPT} (it is young, gone or compacted already, or not the oldest that is whole)

local round = tonumber(ARGV[2])
local status = get('status')
if not status or final(status) or tonumber(get('v')) ~= SCHEMA then return {'KEPT'} end
if round ~= tonumber(get('compacted') or 0) + 1 or round + tonumber(ARGV[3]) >= tonumber(get('round')) then return {'KEPT'} end

redis.call('HSET', goal .. ':rounds', round, ARGV[4])
for _, name in ipairs({':jobs:', ':briefs:', ':results:'}) do redis.call('DEL', goal .. name .. round) end
for _, name in ipairs({'join:', 'total:', 'done:', 'failed:'}) do redis.call('HDEL', goal, name .. round) end
set('compacted', round)
return {'COMPACTED'}
