-- Records a job's result and everything that follows from it.
--
-- KEYS[1] goal      hash  counters, round, status
-- KEYS[2] due       zset  the job leaves, the next jobs enter
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] job       r<round>-<name>
-- ARGV[3] nonce     the attempt's fence; the same nonce again gets the answer DUP
-- ARGV[4] state     done | failed
-- ARGV[5] result    JSON, or blob:<sha256>
-- ARGV[6] follow    JSON: jobs [[job, brief]], round, status, reason, detail, set {field: value},
--                   artifacts {path: JSON}, events [[type, actor, JSON]], transcript
-- ARGV[7] grace     ms until an unpublished job is published by a sweeper
-- ARGV[8] patience  ms a verification waits for the chord's body
--
-- returns {FIRST | DUP, opened the verification (0 or 1), status}
--   or {LOST} (another attempt has the job) or {GONE} (the goal is final)

local job, nonce, follow = ARGV[2], ARGV[3], cjson.decode(ARGV[6])
local status = get('status')
if not status then return {'GONE'} end
local record = load(job)
if record and record.owner == nonce and record.ended then return {'DUP', 0, status} end
if final(status) then return {'GONE'} end
if not record or record.state ~= 'leased' or record.owner ~= nonce then return {'LOST'} end

local round = round_of(job)
if follow.transcript then
    record.transcript = follow.transcript
    redis.call('DEL', goal .. ':journal:' .. job)
end
for path, text in pairs(follow.artifacts or {}) do
    redis.call('HSET', goal .. ':artifacts', path, text)
    event('artifact.written', 'subagent', text)
end
local last = conclude(job, record, ARGV[4], ARGV[5], tonumber(ARGV[8]))
for field, value in pairs(follow.set or {}) do set(field, value) end
if record.kind == 'subtask' then count(ARGV[4] .. ':' .. round, 1) end
for _, said in ipairs(follow.events or {}) do event(said[1], said[2], said[3]) end
if follow.status == 'completed' then
    close('completed', follow.reason, follow.detail, 'engine')
    return {'FIRST', 0, 'completed'}
end
if follow.round then
    set('round', follow.round)
    if get('wish') == 'after_round' then set('wish', 'pause') end
end
local jobs = follow.jobs or {}
if record.kind == 'plan' and #jobs > 0 then
    set('join:' .. round, #jobs, 'total:' .. round, #jobs)
    count('used_subagents', #jobs)
    phase('executing')
end
if #jobs > 0 then open_jobs(jobs, ms(now + tonumber(ARGV[7]))) end
if follow.round then phase('planning') end
if follow.status then move(follow.status, follow.reason, follow.detail, 'engine') end
settle()
return {'FIRST', last, get('status')}
