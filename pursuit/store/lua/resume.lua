-- Takes a paused, blocked or waiting goal up again, if asked with a larger budget.
--
-- KEYS[1] goal    hash  wish, status, budget
-- KEYS[2] due     zset  every open job that isn't parked becomes due now
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] reason  a person's words
-- ARGV[3] add     JSON {part of the budget: how much more}
-- ARGV[4] id      of the command, or '': the same one again gets the same answer, and adds nothing
-- ARGV[5] request hash of the command
--
-- returns {CHANGED | ALREADY, status}
-- errors  GOALSTATE <status>  the goal is final
--         NOTFOUND            there is no such goal
--         IDEMPOTENCY         the id was used for another command

local before = said(ARGV[4], ARGV[5])
if before then return before end
local status = get('status')
if not status then return fail('NOTFOUND', goal_id) end
if final(status) then return fail('GOALSTATE', status) end
local added = false
for part, more in pairs(cjson.decode(ARGV[3])) do
    if redis.call('HEXISTS', goal, 'budget_' .. part) == 1 then
        count('budget_' .. part, more)
        added = true
    end
end
if added then redis.call('HDEL', goal, 'warned') end
local stopped = status == 'paused' or status == 'blocked' or status == 'waiting'
if not stopped and get('wish') == 'run' then
    if added then count('revision', 1) end
    return remember(ARGV[4], ARGV[5], {added and 'CHANGED' or 'ALREADY', status})
end

take_up(ARGV[2])
return remember(ARGV[4], ARGV[5], {'CHANGED', get('status')})
