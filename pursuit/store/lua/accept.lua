-- Completes a goal at a person's word, with whatever gaps it has; what still runs is fenced off.
--
-- KEYS[1] goal    hash  status
-- KEYS[2] due     zset  the goal's entries go
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] reason  a person's words
-- ARGV[3] id      of the command, or '': the same one again gets the same answer
-- ARGV[4] request hash of the command
--
-- returns {CHANGED | ALREADY, status}
-- errors  GOALSTATE <status>  the goal hasn't begun, or is final
--         NOTFOUND            there is no such goal
--         IDEMPOTENCY         the id was used for another command

local before = said(ARGV[3], ARGV[4])
if before then return before end
local status = get('status')
if not status then return fail('NOTFOUND', goal_id) end
if status == 'completed' then return {'ALREADY', status} end
if final(status) or status == 'queued' or not get('started_at') then return fail('GOALSTATE', status) end

for _, member in ipairs(redis.call('ZRANGE', shard .. ':inbox', 0, -1)) do
    if string.find(member, goal_id .. ' ', 1, true) == 1 then redis.call('ZREM', shard .. ':inbox', member) end
end
close('completed', 'accepted', ARGV[2], 'person')
return remember(ARGV[3], ARGV[4], {'CHANGED', 'completed'})
