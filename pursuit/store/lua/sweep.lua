-- Looks at one overdue job: published again, taken from a dead owner, or buried.
--
-- KEYS[1] goal      hash  counters, status
-- KEYS[2] due       zset  the job's entry
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] job       r<round>-<name>
-- ARGV[3] attempts  how many in a row may record nothing
-- ARGV[4] backoff   ms before the first copy of a message; doubles with each
-- ARGV[5] ceiling   ms, the longest backoff
-- ARGV[6] patience  ms a verification waits for the chord's body
-- ARGV[7] corpse    JSON, the digest of a job that has killed its workers
--
-- returns {PUBLISH, verification opened}, {BURIED, verification opened} or {NOTHING}

local job = ARGV[2]
local member = goal_id .. ' ' .. job
local score = redis.call('ZSCORE', due, member)
if not score or tonumber(score) > now then return {'NOTHING'} end
local status = get('status')
local record = status and load(job)
if not record or final(status) or redis.call('SISMEMBER', goal .. ':open', job) == 0 then
    redis.call('ZREM', due, member)
    return {'NOTHING'}
end
local version = tonumber(get('v'))
if version > SCHEMA or version < OLDEST then
    -- what its records mean is for other workers to know; a message is always safe to send
    attend(job, ms(now + tonumber(ARGV[4])))
    return {'PUBLISH', 0}
end
if record.state == 'parked' then
    attend(job, NEVER)
    return {'NOTHING'}
end

if record.state == 'leased' then
    event('job.lost', 'engine', {subtask = job, attempt = record.attempt})
    record.fruitless, record.reached = fruitless(job, record)
    if record.fruitless >= tonumber(ARGV[3]) then
        event('job.buried', 'engine', {subtask = job, attempts = record.attempt})
        if record.kind == 'subtask' then
            record.owner = nil
            local last = conclude(job, record, 'buried', ARGV[7], tonumber(ARGV[6]))
            count('failed:' .. round_of(job), 1)
            event('subtask.finished', 'engine', {subtask = job, outcome = 'failed', answer = 'its worker died each time'})
            settle()
            return {'BURIED', last}
        end
        count('leased', -1)
        disown(record, record.lease)
        record.state, record.attempt, record.fruitless = 'queued', 0, 0
        save(job, record)
        attend(job, NEVER)
        move('blocked', 'stalled', 'the ' .. record.kind .. ' ended its worker ' .. ARGV[3] .. ' times', 'engine')
        return {'BURIED', 0}
    end
    count('leased', -1)
    disown(record, record.lease)
    record.state, record.dispatches = 'queued', 0
    save(job, record)
    settle()
    if record.fruitless > 1 and get('wish') ~= 'pause' then
        -- one of those that died together again has killed the others: they come back one after the other
        local place = tonumber(string.match(job, '%d+$') or 0) * 37 % 101 / 101
        attend(job, ms(now + place * tonumber(ARGV[4])))
        return {'NOTHING'}
    end
end
if get('wish') == 'pause' or status == 'paused' or status == 'blocked' then
    attend(job, NEVER)
    return {'NOTHING'}
end
if status == 'waiting' then
    local wakes = tonumber(get('wake_at'))
    if wakes > now then
        attend(job, ms(wakes))
        return {'NOTHING'}
    end
    move('running', '', '', 'engine')
end
local wait = tonumber(ARGV[4]) * 2 ^ math.min(record.dispatches, 20)
record.dispatches = record.dispatches + 1
save(job, record)
attend(job, ms(now + math.min(wait, tonumber(ARGV[5]))))
return {'PUBLISH', 0}
