-- Keeps a person's words for the next plan and for all running sub-agents, or for one of them.
--
-- KEYS[1] goal    hash  status
-- KEYS[2] due     zset  not touched
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] text    a person's words
-- ARGV[3] job     r<round>-<name>, or '' for the whole goal
-- ARGV[4] id      of the command, or '': the same one again gets the same answer
-- ARGV[5] request hash of the command
--
-- returns {CHANGED, status, pieces of guidance so far}
-- errors  GOALSTATE <status>  the goal is final
--         NOTFOUND            there is no such goal, or it has no such job
--         IDEMPOTENCY         the id was used for another command

local before = said(ARGV[4], ARGV[5])
if before then return before end
local status = get('status')
if not status then return fail('NOTFOUND', goal_id) end
if final(status) then return fail('GOALSTATE', status) end
if ARGV[3] ~= '' and not load(ARGV[3]) then return fail('NOTFOUND', 'subtask ' .. ARGV[3] .. ' in this goal') end

local said_so = {text = ARGV[2], subtask = ARGV[3] ~= '' and ARGV[3] or nil, at = ms(now)}
local length = redis.call('RPUSH', goal .. ':guidance', cjson.encode(said_so))
count('revision', 1)
event('goal.guidance', 'person', {text = ARGV[2], subtask = said_so.subtask})
return remember(ARGV[4], ARGV[5], {'CHANGED', status, length})
