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

set('wish', 'run', 'wish_reason', '', 'updated_at', ms(now))
count('epoch', 1)
redis.call('HDEL', goal, 'wake_at', 'waited_at', 'waiting_since')
-- a person who takes up a stalled goal gives it another chance: the counts that stopped it start anew
if status == 'blocked' then redis.call('HDEL', goal, 'streak') end
local start_at = tonumber(get('start_at') or 0)
local at = ms(math.max(now, get('started_at') and 0 or start_at))
local open = redis.call('SMEMBERS', goal .. ':open')
for _, job in ipairs(open) do
    local record = load(job)
    if record.state == 'queued' then
        record.dispatches = 0
        save(job, record)
        attend(job, at)
    end
end
if #open == 0 then
    local round = tonumber(get('round')) + 1
    set('round', round)
    phase('planning')
    open_job('r' .. round .. '-plan', ms(now))
end
if stopped then
    local started = get('started_at')
    move(started and 'running' or 'queued', started and '' or (start_at > now and 'start_at' or 'submitted'), ARGV[2], 'person')
else
    count('revision', 1)
    event('goal.status', 'person', {from = status, to = status, reason = 'person', wish = 'run', detail = ARGV[2]})
end
settle()
return remember(ARGV[4], ARGV[5], {'CHANGED', get('status')})
