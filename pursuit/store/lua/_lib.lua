-- Shared by every script and put in front of it. The words are those of docs/how-it-works.md.
--
-- Every script gets the same two keys and the time, so that they needn't be spelled out again:
--   KEYS[1]  the goal's hash; the goal's other keys begin with it
--   KEYS[2]  the due index of the goal's shard
--   ARGV[1]  now in ms, or '' for the time of Redis (tests pass a clock of their own)
-- All keys of a goal carry its shard's tag, so on a cluster they live in one slot.

local goal, due = KEYS[1], KEYS[2]
local now = tonumber(ARGV[1])
if not now then
    local t = redis.call('TIME')
    now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- The version of what is kept of a goal. A goal of the version before is taken as it is and becomes this version with
-- the plan of its next round, when nothing else of it is open; newer ones are left to newer workers.
local SCHEMA, OLDEST = 3, 2
local NEVER = '+inf'
local goal_id = string.match(goal, ':goal:(.+)$')
local shard = string.match(goal, '^(.-):goal:')

local function ms(number) return string.format('%.0f', number) end
local function get(field) return redis.call('HGET', goal, field) end
local function set(...) redis.call('HSET', goal, ...) end
local function count(field, by) return redis.call('HINCRBY', goal, field, by) end
local function round_of(job) return string.match(job, '^r(%d+)%-') end
local function kind_of(job)
    local name = string.match(job, '^r%d+%-(.+)$')
    if name == 'plan' or name == 'verify' then return name end
    return 'subtask'
end
-- A wait is never for ever: after a week without a step in between the goal is blocked instead.
local WAIT_MOST = 7 * 86400 * 1000
local function final(status) return status == 'completed' or status == 'cancelled' end
local function fail(code, text) return redis.error_reply(code .. ' ' .. (text or '')) end

-- A person's command, by its id: what it came to the first time, or an error if the id was used for another one.
local function said(id, request)
    local before = id ~= '' and redis.call('GET', goal .. ':command:' .. id)
    if not before then return nil end
    local known, reply = string.match(before, '^(%S*) (.*)$')
    if known ~= request then return fail('IDEMPOTENCY', 'something else of goal ' .. goal_id) end
    return cjson.decode(reply)
end
local function remember(id, request, reply)
    if id ~= '' then
        redis.call('SET', goal .. ':command:' .. id, request .. ' ' .. cjson.encode(reply), 'EX', 86400)
    end
    return reply
end

-- Jobs: one JSON record a job, in one hash a round.
local function load(job)
    local text = redis.call('HGET', goal .. ':jobs:' .. round_of(job), job)
    if text then return cjson.decode(text) end
    return nil
end
local function save(job, record)
    redis.call('HSET', goal .. ':jobs:' .. round_of(job), job, cjson.encode(record))
end
local function attend(job, at) redis.call('ZADD', due, at, goal_id .. ' ' .. job) end
-- Opens jobs of one round, given as {{job, brief}, ...}: a few calls for all of them, as 300 x 4 would hold Redis for 9 ms.
local function open_jobs(jobs, at)
    local round = round_of(jobs[1][1])
    local ids, records, briefs, entries = {}, {}, {}, {}
    for _, opened in ipairs(jobs) do
        local job, brief = opened[1], opened[2]
        ids[#ids + 1] = job
        records[#records + 1] = job
        records[#records + 1] = '{"kind":"' .. kind_of(job) .. '","state":"queued","attempt":0,"dispatches":0}'
        entries[#entries + 1] = at
        entries[#entries + 1] = goal_id .. ' ' .. job
        if brief ~= '' then
            briefs[#briefs + 1] = job
            briefs[#briefs + 1] = brief
        end
    end
    redis.call('SADD', goal .. ':open', unpack(ids))
    redis.call('HSET', goal .. ':jobs:' .. round, unpack(records))
    if #briefs > 0 then redis.call('HSET', goal .. ':briefs:' .. round, unpack(briefs)) end
    redis.call('ZADD', due, unpack(entries))
end
local function open_job(job, at) open_jobs({{job, ''}}, at) end

-- Budgets. A call is reserved before it is made, held in its job's record, and settled when it is recorded; whatever
-- ends the attempt gives back what is held. A tenth of tokens and money is kept for closing (the sub-agents' digests, the
-- verification), of that a third for the report alone, which is paid in any case; of steps a fiftieth, so that 300 sub-agents have 13 of 4,000 each.
local KEPT = {work = 0.1, close = 0.03, report = 0}
local KEPT_STEPS = {work = 0.02, close = 0.005, report = 0}
local PARTS = {'steps', 'tokens', 'micros'}
local function hold(record, wanted)
    if record.state == 'cut' then wanted = nil end -- its calls are checked, and nobody would free what they hold
    for place, part in ipairs(PARTS) do
        local more = (wanted and wanted[place] or 0) - (record.held and record.held[place] or 0)
        if more ~= 0 then count('held_' .. part, more) end
    end
    record.held = wanted
end
-- What of each part is used, held and given: {{name, used, held, limit}, ...}, and the part of wall-clock.
local function budget()
    local b = redis.call('HMGET', goal, 'used_steps', 'held_steps', 'budget_steps', 'used_tokens_in', 'used_tokens_out',
        'held_tokens', 'budget_tokens', 'used_micros', 'held_micros', 'budget_micros', 'used_ms', 'running_since',
        'budget_wall_seconds')
    for place = 1, 13 do b[place] = tonumber(b[place]) end
    return {{'steps', b[1] or 0, b[2] or 0, b[3]}, {'tokens', (b[4] or 0) + (b[5] or 0), b[6] or 0, b[7]},
        {'micros', b[8] or 0, b[9] or 0, b[10]}, {'wall_seconds', ((b[11] or 0) + now - (b[12] or now)) / 1000, 0, b[13]}}
end
-- Holds one call of a class for a job. Returns nil, or the part of the budget that doesn't allow it; 'held' when it would
-- fit as soon as others' calls take less than is held for them.
local function reserve(record, class, tokens, micros)
    local wanted, waits = {1, tokens, micros}, nil
    for place, part in ipairs(budget()) do
        local name, used, held, limit = unpack(part, 1, 4)
        local others = held - (record.held and record.held[place] or 0)
        local kept = (place == 1 and KEPT_STEPS or KEPT)[class]
        -- the report is always paid: where the part kept for it is too small, it is the one call beyond
        local bound = class ~= 'report' and limit and place < 4 and limit - math.ceil(limit * kept)
        if bound and used + wanted[place] > bound then return name end
        if bound and used + others + wanted[place] > bound then waits = 'held' end
        if limit and place == 4 and class == 'work' and used >= limit then return name end
    end
    if waits then return waits end
    hold(record, wanted)
end

-- Whether an attempt may still record: it owns its job, or did until the round went on without it, not long ago.
local function owns(record, nonce)
    if not record or record.owner ~= nonce then return false end
    return record.state == 'leased' or record.state == 'cut' and now < (record.late or 0)
end

-- How many attempts in a row have recorded nothing, the one that ends now included, and what is recorded by now. What a
-- job got done speaks for it: it may have died with a worker that another job has killed. So does waiting for the provider,
-- while it does nothing that could kill.
local function fruitless(job, record)
    local length = redis.call('LLEN', goal .. ':journal:' .. job)
    local before = length > (record.reached or 0) and 0 or record.fruitless or 0
    return record.limited and before or before + 1, length
end

-- How long the goal has been running, in ms: while it is paused or waits, nobody is late.
local function ran()
    local since = get('status') == 'running' and get('running_since')
    return tonumber(get('used_ms') or 0) + (since and now - tonumber(since) or 0)
end

-- Whether a job's round has its quorum, so that it should come to an end.
local function hurried(job)
    local at = get('hurry_at:' .. round_of(job))
    return at and ran() >= tonumber(at) and 1 or 0
end

-- Events: a gapless number, the time, who did it, and JSON data.
local function event(kind, actor, data)
    if type(data) == 'table' then data = cjson.encode(data) end
    redis.call('XADD', goal .. ':events', 'MAXLEN', '~', '20000', '*', 'seq', count('seq', 1),
        'type', kind, 'at', ms(now), 'actor', actor, 'data', data)
end

-- Lets a key live as long as the final goals in it.
local function keep(key)
    local seconds = tonumber(get('retention'))
    if redis.call('TTL', key) < seconds then redis.call('EXPIRE', key, seconds) end
end

-- Warns once when three quarters of the budget are used; more budget makes it warn again.
local function warn()
    if get('warned') then return end
    for _, part in ipairs(budget()) do
        if part[4] and part[2] >= 0.75 * part[4] then
            set('warned', part[1])
            event('budget.warning', 'engine', {part = part[1], used = math.floor(part[2] / part[4] * 1000) / 1000})
            return
        end
    end
end

-- Statuses: moved together with the listing index, the revision and the event.
local function move(status, reason, detail, actor)
    local from = get('status')
    -- only running time counts as used wall-clock
    if from == 'running' then count('used_ms', now - tonumber(get('running_since') or ms(now))) end
    if status == 'running' then set('running_since', ms(now)) end
    redis.call('ZREM', shard .. ':goals:' .. from, goal_id)
    redis.call('ZADD', shard .. ':goals:' .. status, get('created_at'), goal_id)
    if final(status) then keep(shard .. ':goals:' .. status) end
    set('status', status, 'reason', reason, 'detail', detail, 'updated_at', ms(now))
    count('revision', 1)
    event('goal.status', actor, {from = from, to = status, reason = reason, detail = detail,
        round = tonumber(get('round')), epoch = tonumber(get('epoch'))})
end
local function phase(name)
    set('phase', name, 'updated_at', ms(now))
    count('revision', 1)
end

-- The end: no job is open, nothing is due, and every key gets an expiry.
local function close(status, reason, detail, actor)
    local open = redis.call('SMEMBERS', goal .. ':open')
    if #open > 0 then
        -- all open jobs are of one round
        local key, records, entries = goal .. ':jobs:' .. round_of(open[1]), {}, {}
        for place, text in ipairs(redis.call('HMGET', key, unpack(open))) do
            local record = cjson.decode(text)
            record.state, record.owner = 'cancelled', nil
            records[2 * place - 1], records[2 * place] = open[place], cjson.encode(record)
            entries[place] = goal_id .. ' ' .. open[place]
        end
        redis.call('HSET', key, unpack(records))
        redis.call('ZREM', due, unpack(entries))
        redis.call('DEL', goal .. ':open')
    end
    set('finished_at', ms(now), 'held_steps', 0, 'held_tokens', 0, 'held_micros', 0, 'leased', 0, 'parked', 0, 'join:' .. get('round'), 0)
    count('epoch', 1)
    move(status, reason, detail, actor)
    local keys = {goal}
    for _, name in ipairs({':events', ':artifacts', ':questions', ':guidance', ':rounds', ':layers', ':late', ':items', ':contracts'}) do
        keys[#keys + 1] = goal .. name
    end
    for round = tonumber(get('compacted') or 0) + 1, tonumber(get('round')) do
        for _, name in ipairs({':jobs:', ':briefs:', ':results:'}) do
            keys[#keys + 1] = goal .. name .. round
        end
    end
    for _, journal in ipairs(open) do keys[#keys + 1] = goal .. ':journal:' .. journal end
    local seconds = tonumber(get('retention'))
    for _, key in ipairs(keys) do redis.call('EXPIRE', key, seconds) end
    redis.call('ZADD', shard .. ':expiring', ms(now + seconds * 1000), goal_id)
    keep(shard .. ':expiring')
end

-- Whether a person's wish or an open question leaves nothing to do; called after each release of a job.
local function settle()
    local status = get('status')
    if status ~= 'running' and status ~= 'waiting' then return end
    if get('wish') == 'pause' and tonumber(get('leased')) == 0 then
        move('paused', 'person', get('wish_reason') or '', 'engine')
    elseif status == 'running' and tonumber(get('parked')) > 0 and tonumber(get('parked')) == redis.call('SCARD', goal .. ':open') then
        local asked = get('asked') or 'question'
        local says = asked == 'sign_off' and 'all else is met; a person has to sign it off' or 'what is left waits for an answer'
        move('blocked', asked, says, 'engine')
    end
end

-- An attempt no longer owns its job: what it held of the budget is free, and its time counts.
local function disown(record, ends)
    hold(record, nil)
    record.active = (record.active or 0) + math.max(0, math.min(now, ends or now) - (record.began or now))
    record.owner, record.lease, record.limited = nil, nil, nil
end

-- Parks a job until a person has answered. `by`: who asks; `data`: the question as JSON.
local function ask(job, record, question, data, by)
    record.state, record.question, record.asked_by = 'parked', question, by
    count('parked', 1)
    attend(job, NEVER)
    set('asked', cjson.decode(data).kind or 'question')
    if redis.call('HSETNX', goal .. ':questions', question, data) == 1 then event('question.asked', by, data) end
    redis.call('ZADD', shard .. ':inbox', ms(now), goal_id .. ' ' .. question)
    event('subtask.waiting', by, {subtask = job, question = question})
end
local function withdraw(question, answer)
    redis.call('ZREM', shard .. ':inbox', goal_id .. ' ' .. question)
    local kept = answer and redis.call('HGET', goal .. ':questions', question)
    if not kept then return end
    local asked = cjson.decode(kept)
    asked.answer, asked.answered_at = answer, ms(now)
    redis.call('HSET', goal .. ':questions', question, cjson.encode(asked))
    event('question.answered', 'person', {question = question, subtask = asked.job, answer = answer})
end

-- Stragglers. When the quorum of a round has ended, its verification is opened ahead of its time: whoever takes it up then
-- gives the rest a twin each, or cuts it. How long they have depends on what the others took.
local function hurry(round)
    local quorum, total, left = tonumber(get('quorum') or 1), tonumber(get('total:' .. round)), tonumber(get('join:' .. round))
    if quorum >= 1 or get('cut_at:' .. round) or total - left < math.ceil(total * quorum) then return 0 end
    local spans = {}
    for _, text in ipairs(redis.call('HVALS', goal .. ':jobs:' .. round)) do
        local record = cjson.decode(text)
        if record.ended and record.kind == 'subtask' then spans[#spans + 1] = record.ended - (record.started or record.ended) end
    end
    table.sort(spans)
    local usual = spans[math.ceil(0.95 * #spans)] or 0
    local patience = math.max(tonumber(get('straggler_least')), usual * tonumber(get('straggler_factor')))
    local half = get('straggler_then') == 'hedge' and 0.5 or 1
    set('patience', ms(patience), 'hurry_at:' .. round, ms(ran() + patience / 2), 'cut_at:' .. round, ms(ran() + patience))
    open_job('r' .. round .. '-verify', ms(now + patience * half))
    event('round.quorum', 'engine', {round = tonumber(round), left = left, usual_seconds = usual / 1000, seconds = patience / 1000})
    return 0
end
local CUT = cjson.encode({outcome = 'partial', answer = 'The round went on without it: it took much longer than its siblings.',
    evidence = {}, artifacts = {}, gaps = {'this subtask was not finished in its round'}})
-- So many at once: 150 would hold Redis for 20 ms on a slow machine; the due index brings the next look.
local CUT_MOST = 50
-- an empty table would be written as an object
CUT = string.gsub(CUT, '{}', '[]')

-- A job's end, however it came about: recorded, counted in the join, and the verification opened by the last.
-- Returns 1 when this opened the verification.
local conclude
function conclude(job, record, state, result, grace)
    local round = round_of(job)
    if record.state == 'leased' then count('leased', -1) end
    if record.state == 'parked' then
        count('parked', -1)
        withdraw(record.question)
    end
    local owner = record.owner
    disown(record)
    record.owner, record.state, record.ended = owner, state, now
    save(job, record)
    redis.call('HSET', goal .. ':results:' .. round, job, result)
    redis.call('SREM', goal .. ':open', job)
    redis.call('ZREM', due, goal_id .. ' ' .. job)
    -- one that no transcript has replaced stays readable for as long as a final goal would
    redis.call('EXPIRE', goal .. ':journal:' .. job, tonumber(get('retention')))
    if record.kind ~= 'subtask' then return 0 end
    local twin = record.twin and state == 'done' and load(record.twin)
    if twin and not twin.ended then -- the first digest counts
        twin.owner, twin.twin = nil, nil
        conclude(record.twin, twin, 'cut', CUT, grace)
    end
    if count('join:' .. round, -1) > 0 then return hurry(round) end
    open_job('r' .. round .. '-verify', ms(now + grace))
    phase('verifying')
    return 1
end

-- A job that its round went on without has its result after all: the next plan reads it.
local function come_late(job, record, state, result)
    record.state, record.late = state, nil
    save(job, record)
    redis.call('HSET', goal .. ':results:' .. round_of(job), job, result)
    redis.call('HSET', goal .. ':late', job, get('round'))
    event('subtask.late', 'subagent', {subtask = job})
end

-- What becomes of those that are late when somebody takes up a verification ahead of its time. True: none is open any more.
local function last_call(round, lease)
    local cut_at, verify, clock = tonumber(get('cut_at:' .. round)), 'r' .. round .. '-verify', ran()
    if not cut_at then return false end
    local half = tonumber(get('hurry_at:' .. round))
    local next_at = clock < half and get('straggler_then') == 'hedge' and half or cut_at
    if clock < cut_at then attend(verify, ms(now + next_at - clock)) end
    if clock < half then return false end
    local late = {}
    for _, job in ipairs(redis.call('SMEMBERS', goal .. ':open')) do
        if kind_of(job) == 'subtask' then late[#late + 1] = job end
    end
    table.sort(late)
    if clock >= cut_at then
        for place = 1, math.min(#late, CUT_MOST) do
            local job = late[place]
            local record = load(job)
            if record.state == 'leased' then record.late = now + math.max(tonumber(get('patience')), 4 * lease) else record.owner = nil end
            conclude(job, record, 'cut', CUT, 0)
            event('subtask.finished', 'engine', '{"subtask": "' .. job .. '", "outcome": "partial", '
                .. '"answer": "cut: the round went on without it", "artifacts": []}')
        end
        if #late > CUT_MOST then attend(verify, ms(now)) end
        return #late <= CUT_MOST
    end
    if get('straggler_then') == 'hedge' and not get('hedged:' .. round) then
        set('hedged:' .. round, 1)
        local total = tonumber(get('total:' .. round))
        for _, job in ipairs(late) do
            local record, twin = load(job), string.format('r%s-%03d', round, total + 1)
            local brief = redis.call('HGET', goal .. ':briefs:' .. round, job)
            if record.state == 'leased' and total < 999 then
                total = total + 1
                open_jobs({{twin, brief}}, ms(now))
                local other = load(twin)
                record.twin, other.twin = twin, job
                save(job, record)
                save(twin, other)
                count('total:' .. round, 1)
                count('join:' .. round, 1)
                count('used_subagents', 1)
                event('subtask.twin', 'engine', {subtask = job, twin = twin})
            end
        end
    end
    return false
end

-- Sets a goal that is paused, blocked or waiting going again, at a person's word.
local function take_up(reason)
    local status = get('status')
    set('wish', 'run', 'wish_reason', '', 'updated_at', ms(now))
    count('epoch', 1)
    redis.call('HDEL', goal, 'wake_at', 'waited_at', 'waiting_since')
    -- a person who takes up a stalled goal gives it another chance: the counts that stopped it start anew
    if status == 'blocked' and get('reason') ~= 'sign_off' then redis.call('HDEL', goal, 'streak') end
    local start_at = tonumber(get('start_at') or 0)
    local at = ms(math.max(now, get('started_at') and 0 or start_at))
    local open = redis.call('SMEMBERS', goal .. ':open')
    for _, job in ipairs(open) do
        local record = load(job)
        if record.state == 'parked' and record.asked_by == 'engine' then
            -- what the engine itself wants to know is answered by going on; a sign-off is asked for again
            withdraw(record.question, get('asked') ~= 'sign_off' and (reason ~= '' and reason or 'go on') or nil)
            record.state, record.question = 'queued', nil
            count('parked', -1)
        end
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
    if status == 'paused' or status == 'blocked' or status == 'waiting' then
        local started = get('started_at')
        move(started and 'running' or 'queued', started and '' or (start_at > now and 'start_at' or 'submitted'), reason, 'person')
    else
        count('revision', 1)
        event('goal.status', 'person', {from = status, to = status, reason = 'person', wish = 'run', detail = reason})
    end
    settle()
end
