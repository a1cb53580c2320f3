-- Records what an attempt has done: entries from an index on, with the usage of the model call among them.
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
--
-- returns {KEPT | HAVE, wish, steps used, pieces of guidance}; HAVE: these entries are recorded already
--   or {LOST} (another attempt has the job) or {GONE} (the goal is final)
--   or {GAP} (entries before the index are missing: Redis has gone back in time)

local job, index = ARGV[2], tonumber(ARGV[4])
local status = get('status')
if not status or final(status) then return {'GONE'} end
local record = load(job)
if not record or record.state ~= 'leased' or record.owner ~= ARGV[3] then return {'LOST'} end
local journal = goal .. ':journal:' .. job
local function guided() return redis.call('LLEN', goal .. ':guidance') end
local length = redis.call('LLEN', journal)
if length > index then return {'HAVE', get('wish'), tonumber(get('used_steps') or 0), guided()} end
if length < index then return {'GAP'} end

local entries = cjson.decode(ARGV[5])
if #entries > 0 then redis.call('RPUSH', journal, unpack(entries)) end
local used = tonumber(get('used_steps') or 0)
if ARGV[6] == '1' then
    local tokens_in, tokens_out = tonumber(ARGV[7]), tonumber(ARGV[8])
    used = count('used_steps', 1)
    if tokens_in > 0 then count('used_tokens_in', tokens_in) end
    if tokens_out > 0 then count('used_tokens_out', tokens_out) end
    record.steps = (record.steps or 0) + 1
    record.tokens = (record.tokens or 0) + tokens_in + tokens_out
    record.note = ARGV[9]
    save(job, record)
    event('subtask.step', record.kind == 'subtask' and 'subagent' or (record.kind == 'plan' and 'planner' or 'verifier'),
        {subtask = job, step = record.steps, note = ARGV[9], tokens = tokens_in + tokens_out})
end
return {'KEPT', get('wish'), used, guided()}
