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
--                   artifacts {path: JSON}, events [[type, actor, JSON]], transcript; layer (JSON of the files a
--                   subtask wrote), merged [jobs whose layers are committed], heard [late jobs that were read],
--                   items [new ones], closes (an item), ask {job, question, data}, draft {from, contract, event}; revision that a
--                   completion rests on, and otherwise {round, jobs} for when it has been amended meanwhile
-- ARGV[7] grace     ms until an unpublished job is published by a sweeper
-- ARGV[8] patience  ms a verification waits for the chord's body
--
-- returns {FIRST | DUP, opened the verification (0 or 1), status}
--   or {LOST} (another attempt has the job) or {GONE} (the goal is final)

local job, nonce, follow = ARGV[2], ARGV[3], cjson.decode(ARGV[6])
local status = get('status')
if not status then return {'GONE'} end
local record = load(job)
if record and record.owner == nonce and record.ended and record.state ~= 'cut' then return {'DUP', 0, status} end
if final(status) then return {'GONE'} end
if not owns(record, nonce) then return {'LOST'} end

local round = round_of(job)
if follow.transcript then
    record.transcript = follow.transcript
    redis.call('DEL', goal .. ':journal:' .. job)
end
for path, text in pairs(follow.artifacts or {}) do
    redis.call('HSET', goal .. ':artifacts', path, text)
    if record.kind == 'subtask' then event('artifact.written', 'subagent', text) end
end
if follow.draft and cjson.decode(get('contract')).revision == follow.draft.from then
    redis.call('HSET', goal .. ':contracts', follow.draft.from, get('contract'))
    set('contract', follow.draft.contract)
    event('goal.amended', 'planner', follow.draft.event)
end
if follow.layer then
    redis.call('HSET', goal .. ':layers', job, follow.layer)
    for _, file in ipairs(cjson.decode(follow.layer)) do
        if file.sha256 ~= '' then event('artifact.written', 'subagent', file) end
    end
end
for key, jobs in pairs({layers = follow.merged or {}, late = follow.heard or {}}) do
    if #jobs > 0 then redis.call('HDEL', goal .. ':' .. key, unpack(jobs)) end
end
for _, item in ipairs(follow.items or {}) do count('items_total', redis.call('HSETNX', goal .. ':items', item, '')) end
if follow.closes and redis.call('HGET', goal .. ':items', follow.closes) == '' then
    redis.call('HSET', goal .. ':items', follow.closes, job)
    count('items_closed', 1)
end
if record.state == 'cut' then
    come_late(job, record, ARGV[4], ARGV[5])
    return {'FIRST', 0, status}
end
local last = conclude(job, record, ARGV[4], ARGV[5], tonumber(ARGV[8]))
for field, value in pairs(follow.set or {}) do set(field, value) end
if record.kind == 'subtask' then count(ARGV[4] .. ':' .. round, 1) end
for _, said in ipairs(follow.events or {}) do event(said[1], said[2], said[3]) end
if follow.revision and follow.revision ~= cjson.decode(get('contract')).revision then
    -- what was verified is no longer what is asked for
    follow.status, follow.round, follow.jobs = nil, follow.otherwise.round, follow.otherwise.jobs
end
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
    redis.call('HDEL', goal, 'waits')
    phase('executing')
end
if #jobs > 0 then open_jobs(jobs, ms(now + tonumber(ARGV[7]))) end
if follow.round then phase('planning') end
if follow.status then move(follow.status, follow.reason, follow.detail, 'engine') end
if follow.ask then
    local asking = load(follow.ask.job)
    ask(follow.ask.job, asking, follow.ask.question, follow.ask.data, 'engine')
    save(follow.ask.job, asking)
end
settle()
return {'FIRST', last, get('status')}
