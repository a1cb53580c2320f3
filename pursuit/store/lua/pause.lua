-- Wishes a goal to stop: each sub-agent parks after its current step, or the goal after its round.
--
-- KEYS[1] goal    hash  wish, status
-- KEYS[2] due     zset  a goal that hasn't begun leaves its time
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] mode    now | after_round
-- ARGV[3] reason  a person's words
-- ARGV[4] id      of the command, or '': the same one again gets the same answer
-- ARGV[5] request hash of the command
--
-- returns {CHANGED | ALREADY, status, wish}
-- errors  GOALSTATE <status>  the goal's status doesn't allow it
--         NOTFOUND            there is no such goal
--         IDEMPOTENCY         the id was used for another command

local before = said(ARGV[4], ARGV[5])
if before then return before end
local status, wish = get('status'), ARGV[2] == 'now' and 'pause' or 'after_round'
if not status then return fail('NOTFOUND', goal_id) end
if final(status) or status == 'blocked' then return fail('GOALSTATE', status) end
if status == 'paused' or get('wish') == wish then return remember(ARGV[4], ARGV[5], {'ALREADY', status, get('wish')}) end

if status == 'queued' then wish = 'pause' end
set('wish', wish, 'wish_reason', ARGV[3], 'updated_at', ms(now))
count('revision', 1)
count('epoch', 1)
if wish == 'pause' and tonumber(get('leased')) == 0 then
    move('paused', 'person', ARGV[3], 'person')
else
    event('goal.status', 'person', {from = status, to = status, reason = 'person', wish = wish, detail = ARGV[3]})
end
return remember(ARGV[4], ARGV[5], {'CHANGED', get('status'), wish})
