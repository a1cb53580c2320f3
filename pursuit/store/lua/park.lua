-- Takes a job out of the way without a result: it waits for a person, or for the goal to be resumed.
--
-- KEYS[1] goal      hash  counters, status
-- KEYS[2] due       zset  the entry stays, at no time
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] job       r<round>-<name>
-- ARGV[3] nonce     the attempt's fence
-- ARGV[4] why       question: until it is answered; release: until a resume, journal kept;
--                   block: the goal is blocked, and a resume gives the job fresh attempts;
--                   restart: the same, and what it has recorded so far is dropped;
--                   wait: the goal waits for something outside, such as a used-up quota, and wakes by itself;
--                   retry: tried again after a while, unless too many attempts in a row have recorded nothing
-- ARGV[5] question  id, for why = question
-- ARGV[6] data      JSON of the question, or, for why = wait, of what is waited for; '' for a quota
-- ARGV[7] reason    for why = block, restart, wait
-- ARGV[8] detail    for why = block, restart, wait
-- ARGV[9] wait      ms, for why = retry, wait
-- ARGV[10] attempts  how many in a row may record nothing, for why = retry
--
-- returns {PARKED, status} or {READY} (the question has its answer already) or {LAST} (no more retries; nothing is
--   changed) or {LOST} or {GONE}

local job, why, question = ARGV[2], ARGV[4], ARGV[5]
local status = get('status')
if not status or final(status) then return {'GONE'} end
local record = load(job)
if not record then return {'LOST'} end
if record.parked_by == ARGV[3] and record.state ~= 'leased' then return {'PARKED', status} end
if record.state ~= 'leased' or record.owner ~= ARGV[3] then return {'LOST'} end
local known = question ~= '' and redis.call('HGET', goal .. ':questions', question)
if known and cjson.decode(known).answer then return {'READY'} end
record.limited = nil
local tries, reached = fruitless(job, record)
if why == 'retry' and tries >= tonumber(ARGV[10]) then return {'LAST'} end

count('leased', -1)
disown(record)
record.parked_by = ARGV[3]
if why ~= 'retry' then record.attempt = record.attempt - 1 end
record.state = 'queued'
attend(job, NEVER)
if why == 'question' then ask(job, record, question, ARGV[6], record.kind == 'verify' and 'engine' or 'subagent')
elseif why == 'release' then
    if get('wish') ~= 'pause' then attend(job, ms(now)) end
    if record.kind == 'subtask' then event('subtask.waiting', 'engine', {subtask = job, why = 'paused'}) end
elseif why == 'wait' then
    local wakes = now + tonumber(ARGV[9])
    if ARGV[6] == '' then wakes = math.max(tonumber(get('wake_at') or 0), wakes)
    else -- a wait that somebody declared: what is waited for is kept, and planning begins anew afterwards
        set('wait', ARGV[6], 'wait_since', ms(now))
        count('waits', 1)
        redis.call('DEL', goal .. ':journal:' .. job)
    end
    local steps = get('used_steps') or '0'
    if get('waited_at') ~= steps then set('waited_at', steps, 'waiting_since', ms(now)) end
    set('wake_at', ms(wakes))
    attend(job, ms(wakes))
    event('subtask.waiting', 'engine', {subtask = job, why = ARGV[7], wake_at = wakes})
    if now - tonumber(get('waiting_since')) > WAIT_MOST then
        if status == 'running' then move('blocked', 'configuration', 'waited for a week: ' .. ARGV[8], 'engine') end
        attend(job, NEVER)
    elseif status == 'running' then move('waiting', ARGV[7], ARGV[8], 'engine') end
elseif why == 'retry' then
    record.fruitless, record.reached = tries, reached
    attend(job, ms(now + tonumber(ARGV[9])))
else
    record.attempt, record.fruitless, record.reached = 0, 0, nil
    if why == 'restart' then redis.call('DEL', goal .. ':journal:' .. job) end
end
save(job, record)
if (why == 'block' or why == 'restart') and (status == 'running' or status == 'waiting') then
    move('blocked', ARGV[7], ARGV[8], 'engine')
end
settle()
return {'PARKED', get('status')}
