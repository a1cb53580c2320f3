-- Reserves one model call of the goal's budget, before it is made. The journal settles it and reserves the one after.
--
-- KEYS[1] goal    hash  budget, what is used and held
-- KEYS[2] due     zset  not touched
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] job     r<round>-<name>
-- ARGV[3] nonce   the attempt's fence; the same call again holds nothing more
-- ARGV[4] class   work | close | report: how deep into what is kept back the call may reach
-- ARGV[5] tokens  that it may take
-- ARGV[6] micros  that it may cost, in millionths of a dollar
--
-- returns {KEPT, wish, steps used, pieces of guidance, part of the budget that forbids it, 'held' for the time being, or '',
--   1 when the round has its quorum and waits for this job}
--   or {LOST} (another attempt has the job) or {GONE} (the goal is final)

local job = ARGV[2]
local status = get('status')
if not status or final(status) then return {'GONE'} end
local record = load(job)
if not owns(record, ARGV[3]) then return {'LOST'} end
local over = reserve(record, ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]))
if over then hold(record, nil) end
save(job, record)
return {'KEPT', get('wish'), tonumber(get('used_steps') or 0), redis.call('LLEN', goal .. ':guidance'), over or '', hurried(job)}
