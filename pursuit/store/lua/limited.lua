-- Shows that an attempt waits until its provider takes calls again. A span of 0, or recording its next step, takes it back.
--
-- KEYS[1] goal    hash  status
-- KEYS[2] due     zset  not touched
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] job     r<round>-<name>
-- ARGV[3] nonce   the attempt's fence
-- ARGV[4] span    ms it has to wait, as far as is known
-- ARGV[5] why     rate | window | share | pace | outage | probe
--
-- returns {NOTED}, {LOST} (another attempt has the job) or {GONE} (the goal is final)

local job = ARGV[2]
local status = get('status')
if not status or final(status) then return {'GONE'} end
local record = load(job)
if not owns(record, ARGV[3]) then return {'LOST'} end
if tonumber(ARGV[4]) > 0 then record.limited, record.limit = now + tonumber(ARGV[4]), ARGV[5]
else record.limited, record.limit = nil, nil end
save(job, record)
event('subtask.waiting', 'engine', {subtask = job, why = 'rate limited', limit = ARGV[5], seconds = tonumber(ARGV[4]) / 1000})
return {'NOTED'}
