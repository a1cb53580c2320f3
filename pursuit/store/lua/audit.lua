-- Holds what is kept of a goal against the invariants, at one instant; puts right what is safe to put right.
--
-- KEYS[1] goal      hash  everything about the goal
-- KEYS[2] due       zset  the entries of its jobs
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] repair    1: put it right and say so as an event; 0: only look
-- ARGV[3] suspects  JSON list of jobs that have a due entry, as far as was seen outside
--
-- returns {status, [invariant, what is wrong] ...} or {GONE}; a goal of a version for others is left alone

local status, repair = get('status'), ARGV[2] == '1'
local begins = math.max(now, tonumber(get('start_at') or 0))
if not status then return {'GONE'} end
local version = tonumber(get('v'))
if version > SCHEMA or version < OLDEST then return {status} end
local round, found, over = tonumber(get('round')), {status}, final(status)
local function wrong(invariant, text) found[#found + 1] = {invariant, text} end

local open, records = {}, {}
for _, job in ipairs(redis.call('SMEMBERS', goal .. ':open')) do open[job] = true end
local kept = redis.call('HGETALL', goal .. ':jobs:' .. round)
for place = 1, #kept, 2 do records[kept[place]] = cjson.decode(kept[place + 1]) end
local states = {queued = true, leased = true, parked = true}
for job, record in pairs(records) do
    if states[record.state] and not open[job] then
        wrong('I6', job .. ' is ' .. record.state .. ' and not among the open jobs')
        if repair and not over then redis.call('SADD', goal .. ':open', job); open[job] = true end
    end
end
local counted = {leased = 0, parked = 0, subtask = 0, all = 0}
for job in pairs(open) do
    local record = records[job]
    if over or not record or not states[record.state] then
        wrong(over and 'I7' or 'I6', job .. ' is open, but ' .. (over and 'the goal is final' or 'ended or of another round'))
        if repair then redis.call('SREM', goal .. ':open', job); redis.call('ZREM', due, goal_id .. ' ' .. job) end
    else
        counted.all = counted.all + 1
        counted[record.state] = (counted[record.state] or 0) + 1
        counted[record.kind] = (counted[record.kind] or 0) + 1
        if not redis.call('ZSCORE', due, goal_id .. ' ' .. job) then
            wrong('I6', job .. ' has no due entry')
            if repair then attend(job, record.state == 'parked' and NEVER or ms(get('started_at') and now or begins)) end
        end
    end
end
for _, job in ipairs(cjson.decode(ARGV[3])) do
    if not open[job] and redis.call('ZSCORE', due, goal_id .. ' ' .. job) then
        wrong('I6', job .. ' has a due entry and is not open')
        if repair then redis.call('ZREM', due, goal_id .. ' ' .. job) end
    end
end
local sums = {{'I11', 'leased', counted.leased}, {'I4', 'parked', counted.parked}, {'I4', 'join:' .. round, counted.subtask}}
for _, sum in ipairs(sums) do
    if tonumber(get(sum[2]) or 0) ~= sum[3] then
        wrong(sum[1], sum[2] .. ' is ' .. (get(sum[2]) or 'missing') .. ', counted ' .. sum[3])
        if repair then set(sum[2], sum[3]) end
    end
end
if counted.all == 0 and not over and status ~= 'blocked' then
    wrong('I5', 'nothing is open, so nothing would happen any more')
    if repair then
        local planned = records['r' .. round .. '-plan'] and not records['r' .. round .. '-verify']
        if not planned then set('round', round + 1) end
        open_job(planned and 'r' .. round .. '-verify' or 'r' .. (round + 1) .. '-plan', ms(now))
    end
end
for _, name in ipairs({'queued', 'running', 'waiting', 'paused', 'blocked', 'completed', 'cancelled'}) do
    if (redis.call('ZSCORE', shard .. ':goals:' .. name, goal_id) and true or false) ~= (name == status) then
        wrong('lists', 'the list of ' .. name .. ' goals is wrong about it')
        if repair then redis.call(name == status and 'ZADD' or 'ZREM', shard .. ':goals:' .. name, unpack(
            name == status and {get('created_at'), goal_id} or {goal_id})) end
    end
end
local last = redis.call('XREVRANGE', goal .. ':events', '+', '-', 'COUNT', 1)[1]
if not last or last[2][2] ~= get('seq') then wrong('I9', 'the last event is ' .. (last and last[2][2] or 'missing') .. ' of ' .. get('seq')) end
if over and redis.call('TTL', goal) < 0 then wrong('expiry', 'the goal is final and has no expiry') end
if repair and #found > 1 and not over then event('goal.repaired', 'engine', {found = {unpack(found, 2)}}) end
return found
