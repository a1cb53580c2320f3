-- Takes a job for one attempt, under a lease and a random nonce.
--
-- KEYS[1] goal      hash  status, wish, counters
-- KEYS[2] due       zset  the job's entry moves to the end of the lease
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] job       r<round>-<name>
-- ARGV[3] nonce     the attempt's fence; the same nonce again gets the same answer
-- ARGV[4] lease     ms
-- ARGV[5] attempts  how many in a row may record nothing
--
-- returns {RUN, attempt, journal length, brief, ms that earlier attempts have worked on it} or {BUSY | DONE | HOLD | GONE | DEAD}
--   BUSY  somebody else has it, or its round isn't there yet    DONE  it has its result
--   HOLD  the goal is paused, blocked or waiting, or of a version for others  GONE  the goal is final or deleted
--   DEAD  it has ended its workers too often

local job, nonce, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
local status = get('status')
if not status or final(status) then return {'GONE'} end
local version = tonumber(get('v'))
if version > SCHEMA or version < OLDEST then return {'HOLD'} end
local record = load(job)
if not record then return {tonumber(round_of(job)) < tonumber(get('round')) and 'DONE' or 'BUSY'} end
local function run()
    local journal = redis.call('LLEN', goal .. ':journal:' .. job)
    local brief = redis.call('HGET', goal .. ':briefs:' .. round_of(job), job)
    return {'RUN', record.attempt, journal, brief or '', record.active or 0}
end
if record.state == 'leased' then
    if record.owner == nonce then return run() end
    if record.lease > now then return {'BUSY'} end
elseif record.state == 'parked' then return {'HOLD'}
elseif record.state ~= 'queued' then return {'DONE'} end
if get('wish') == 'pause' or status == 'paused' or status == 'blocked' then
    if record.state == 'queued' then attend(job, NEVER) end
    return {'HOLD'}
end
local wakes = status == 'waiting' and tonumber(get('wake_at'))
if wakes and wakes > now then
    if record.state == 'queued' then attend(job, ms(wakes)) end
    return {'HOLD'}
end
if record.kind == 'verify' and tonumber(get('join:' .. round_of(job))) > 0 then
    if not last_call(round_of(job), lease) then return {'BUSY'} end
    record = load(job)
end
local tries, reached = record.fruitless or 0, record.reached
if record.state == 'leased' then
    tries, reached = fruitless(job, record)
    if tries >= tonumber(ARGV[5]) then return {'DEAD'} end
end

record.fruitless, record.reached = tries, reached
if record.kind == 'plan' and version < SCHEMA then set('v', SCHEMA) end
if record.state == 'queued' then count('leased', 1)
else
    event('job.lost', 'engine', {subtask = job, attempt = record.attempt})
    disown(record, record.lease)
end
record.state, record.attempt, record.owner, record.lease = 'leased', record.attempt + 1, nonce, now + lease
record.began = now
record.started = record.started or now
save(job, record)
attend(job, ms(now + lease))
if status == 'queued' then
    set('started_at', ms(now))
    move('running', '', '', 'engine')
end
if wakes then move('running', '', '', 'engine') end
if record.kind == 'subtask' then
    event('subtask.started', 'engine', {subtask = job, attempt = record.attempt})
elseif get('phase') ~= (record.kind == 'plan' and 'planning' or 'verifying') then
    phase(record.kind == 'plan' and 'planning' or 'verifying')
end
return run()
