-- Records what an attempt has done: entries from an index on; settles the model call among them and reserves the next.
--
-- KEYS[1] goal     hash  usage counters
-- KEYS[2] due      zset  not touched: beats keep the lease
-- ARGV[1] now      ms, or '' for the time of Redis
-- ARGV[2] job      r<round>-<name>
-- ARGV[3] nonce    the attempt's fence
-- ARGV[4] index    position of the first entry
-- ARGV[5] entries  JSON list of entries, each a string
-- ARGV[6] call     1 when a model call is among the entries, a step; its usage counts once
-- ARGV[7] tokens   in
-- ARGV[8] tokens   out
-- ARGV[9] note     what the step did, for the live view
-- ARGV[10] cached  tokens, of those in
-- ARGV[11] micros  what the call cost, in millionths of a dollar
-- ARGV[12] next    work | close, the call to reserve, or '' for none
-- ARGV[13] tokens  that the next call may take
-- ARGV[14] micros  that it may cost
--
-- returns {KEPT | HAVE, wish, steps used, pieces of guidance, part of the budget that forbids the next call,
--   'held' for the time being, or '', 1 when the round has its quorum and waits for this job}
--   HAVE: these entries are recorded already
--   or {LOST} (another attempt has the job) or {GONE} (the goal is final)
--   or {GAP} (entries before the index are missing: Redis has gone back in time)

local job, index = ARGV[2], tonumber(ARGV[4])
local status = get('status')
if not status or final(status) then return {'GONE'} end
local record = load(job)
if not owns(record, ARGV[3]) then return {'LOST'} end
local journal = goal .. ':journal:' .. job
local function guided() return redis.call('LLEN', goal .. ':guidance') end
local length = redis.call('LLEN', journal)
if length > index then
    local left = record.held and '' or record.over or ''
    return {'HAVE', get('wish'), tonumber(get('used_steps') or 0), guided(), left, hurried(job)}
end
if length < index then return {'GAP'} end

local entries = cjson.decode(ARGV[5])
if #entries > 0 then redis.call('RPUSH', journal, unpack(entries)) end
if record.state == 'cut' then redis.call('EXPIRE', journal, tonumber(get('retention'))) end
local used, over = tonumber(get('used_steps') or 0), ''
if ARGV[6] == '1' then
    local tokens_in, tokens_out = tonumber(ARGV[7]), tonumber(ARGV[8])
    used = count('used_steps', 1)
    if tokens_in > 0 then count('used_tokens_in', tokens_in) end
    if tokens_out > 0 then count('used_tokens_out', tokens_out) end
    if tonumber(ARGV[10]) > 0 then count('used_tokens_cached', ARGV[10]) end
    if tonumber(ARGV[11]) > 0 then count('used_micros', ARGV[11]) end
    if ARGV[12] == '' then hold(record, nil)
    else
        over = reserve(record, ARGV[12], tonumber(ARGV[13]), tonumber(ARGV[14])) or ''
        if over ~= '' then hold(record, nil) end
    end
    record.over, record.limited = over ~= '' and over or nil, nil
    record.steps = (record.steps or 0) + 1
    record.tokens = (record.tokens or 0) + tokens_in + tokens_out
    record.micros = (record.micros or 0) + tonumber(ARGV[11])
    record.note = ARGV[9]
    save(job, record)
    event('subtask.step', record.kind == 'subtask' and 'subagent' or (record.kind == 'plan' and 'planner' or 'verifier'),
        {subtask = job, step = record.steps, note = ARGV[9], tokens = tokens_in + tokens_out})
    warn()
end
return {'KEPT', get('wish'), used, guided(), over, hurried(job)}
