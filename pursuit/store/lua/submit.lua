-- Saves a goal and opens the plan of its first round.
--
-- KEYS[1] goal         hash    everything about the goal
-- KEYS[2] due          zset    job -> time of next attention
-- KEYS[3] idempotency  string  submission key -> goal and request hash
-- ARGV[1] now          ms, or '' for the time of Redis
-- ARGV[2] request      hash of the request
-- ARGV[3] fields       JSON list of the hash's fields and values
-- ARGV[4] plan_at      ms at which the plan becomes due on its own, or '' for a grace from now
-- ARGV[5] grace        ms until an unpublished job is published by a sweeper
-- ARGV[6] event        JSON of goal.submitted
-- ARGV[7] keep         seconds to keep the idempotency key
--
-- returns {NEW, goal} or {SAME, goal of the first submission}
-- errors  IDEMPOTENCY  the key was used for another request

local known = redis.call('GET', KEYS[3])
if known then
    local first, request = string.match(known, '^(%S+) (%S+)$')
    if request ~= ARGV[2] then return fail('IDEMPOTENCY', first) end
    return {'SAME', first}
end
local fields, plan_at = cjson.decode(ARGV[3]), tonumber(ARGV[4])

redis.call('SET', KEYS[3], goal_id .. ' ' .. ARGV[2], 'EX', ARGV[7])
set(unpack(fields))
set('v', SCHEMA, 'status', 'queued', 'wish', 'run', 'epoch', 1, 'round', 1, 'phase', 'planning', 'seq', 0,
    'revision', 1, 'leased', 0, 'parked', 0, 'detail', '', 'created_at', ms(now), 'updated_at', ms(now))
if plan_at then set('start_at', ms(plan_at)) end
set('reason', plan_at and plan_at > now and 'start_at' or 'submitted')
redis.call('ZADD', shard .. ':goals:queued', ms(now), goal_id)
event('goal.submitted', 'person', ARGV[6])
open_job('r1-plan', ms(plan_at or (now + tonumber(ARGV[5]))))
return {'NEW', goal_id}
