-- Changes what a goal is held to, or may use, while it lives; the next plan and all running sub-agents hear of it.
--
-- KEYS[1] goal      hash  contract, budget, policy, labels
-- KEYS[2] due       zset  a blocked goal is taken up again
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] expected  revision of the goal that the person has seen, or '' for any
-- ARGV[3] from      revision of the contract that the change was made from
-- ARGV[4] fields    JSON list of the hash's fields and values
-- ARGV[5] words     JSON for the sub-agents, or '' where the contract stays as it is
-- ARGV[6] event     JSON of goal.amended
-- ARGV[7] id        of the command, or '': the same one again gets the same answer
-- ARGV[8] request   hash of the command
--
-- returns {CHANGED, status, contract revision} or {AGAIN} (the contract is another one by now)
-- errors  GOALSTATE <status>  the goal is final
--         NOTFOUND            there is no such goal
--         STALE <revision>    the goal isn't what the person has seen
--         IDEMPOTENCY         the id was used for another command

local before = said(ARGV[7], ARGV[8])
if before then return before end
local status = get('status')
if not status then return fail('NOTFOUND', goal_id) end
if final(status) then return fail('GOALSTATE', status) end
if ARGV[2] ~= '' and ARGV[2] ~= get('revision') then return fail('STALE', get('revision')) end
local contract = get('contract')
local known = cjson.decode(contract).revision
if known ~= tonumber(ARGV[3]) then return {'AGAIN'} end

redis.call('HSETNX', goal .. ':contracts', known, contract)
set(unpack(cjson.decode(ARGV[4])))
set('updated_at', ms(now))
count('epoch', 1)
count('revision', 1)
redis.call('HDEL', goal, 'warned')
local revision = cjson.decode(get('contract')).revision
if ARGV[5] ~= '' then
    redis.call('HSET', goal .. ':contracts', revision, get('contract'))
    local words = cjson.decode(ARGV[5])
    words.at, words.amended = ms(now), revision
    redis.call('RPUSH', goal .. ':guidance', cjson.encode(words))
end
event('goal.amended', 'person', ARGV[6])
if status == 'blocked' then take_up('amended') end
return remember(ARGV[7], ARGV[8], {'CHANGED', get('status'), revision})
