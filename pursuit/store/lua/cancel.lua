-- Ends a goal at a person's word. No worker need be alive; what still runs is fenced off.
--
-- KEYS[1] goal    hash  status
-- KEYS[2] due     zset  the goal's entries go
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] reason  a person's words
--
-- returns {CHANGED | ALREADY, status}
-- errors  GOALSTATE <status>  the goal is completed
--         NOTFOUND            there is no such goal

local status = get('status')
if not status then return fail('NOTFOUND', goal_id) end
if status == 'completed' then return fail('GOALSTATE', status) end
if status == 'cancelled' then return {'ALREADY', status} end

set('wish', 'cancel')
for _, member in ipairs(redis.call('ZRANGE', shard .. ':inbox', 0, -1)) do
    if string.find(member, goal_id .. ' ', 1, true) == 1 then redis.call('ZREM', shard .. ':inbox', member) end
end
close('cancelled', 'person', ARGV[2], 'person')
return {'CHANGED', 'cancelled'}
