-- Lets a model call begin, or says how long to wait: one window, one pace, one breaker for everybody who pays with an account.
--
-- KEYS[1] limit     hash  the account's state
-- KEYS[2] calls     zset  the call enters
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] call      '<goal> <id>'; the same one again gets the same answer
-- ARGV[3] patience  ms after which a call without a word counts as lost
-- ARGV[4] tokens    that it may take, about
-- ARGV[5] requests  a minute, or 0 for no limit
-- ARGV[6] pace      tokens a minute, or 0 for no limit
-- ARGV[7] ceiling   of the window: calls in flight
-- ARGV[8] first     window of an account that nobody has called
--
-- returns {GO}, {WAIT, ms, why: rate | window | share | pace | outage | probe}, {QUOTA, ms until there is quota again, or 0}
--   or {DENIED, text} (key or account are refused)

local call, goal = ARGV[2], string.match(ARGV[2], '^%S+')
for _, lost in ipairs(redis.call('ZRANGEBYSCORE', calls, '-inf', ms(now), 'LIMIT', 0, 100)) do free(lost) end
if redis.call('ZSCORE', calls, call) then return {'GO'} end
if number('denied_until', 0) > now then return {'DENIED', get('denied') or ''} end
local quota = number('quota_until', 0)
if quota > now then return {'QUOTA', ms(quota - now)} end

local function wait(span, why)
    redis.call('ZADD', waiting, ms(now), goal)
    redis.call('EXPIRE', waiting, 60)
    return {'WAIT', ms(math.max(span, 20)), why}
end
local closed = number('closed_until', 0)
if closed > now then return wait(closed - now, get('closed_why')) end
local flying = redis.call('ZCARD', calls)
-- after a used-up quota or an outage one call finds out whether it is over
local probing = quota > 0 or get('half') == '1'
if probing and number('probe_until', 0) > now then return wait(250, 'probe') end
if flying >= math.floor(math.min(number('window', ARGV[8]), tonumber(ARGV[7]))) then return wait(100, 'window') end

-- fair shares: whoever waits with fewer calls in flight goes first. Who hasn't asked for two seconds no longer waits.
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', ms(now - 2000))
local mine = number('goal:' .. goal, 0)
for _, other in ipairs(redis.call('ZRANGE', waiting, 0, 50)) do
    if other ~= goal and number('goal:' .. other, 0) < mine then return wait(50, 'share') end
end

-- buckets that refill in such a way that no minute sees more than the limit: a tenth at once, the rest evenly
local levels = {}
for _, bucket in ipairs({{'requests', tonumber(ARGV[5]), 1}, {'tokens', tonumber(ARGV[6]), tonumber(ARGV[4])}}) do
    local name, most, wanted = bucket[1], bucket[2], bucket[3]
    if most > 0 then
        local full = math.max(1, most / 10)
        local rate = (most - full) / 60000
        if rate <= 0 then rate = most / 60000 end
        local level = math.min(full, number(name, full) + (now - number(name .. '_at', now)) * rate)
        -- a call larger than the bucket goes when it is full, and leaves a debt
        local needed = math.min(wanted, full)
        if level < needed then return wait((needed - level) / rate, 'pace') end
        levels[#levels + 1] = {name, level - wanted}
    end
end
for _, level in ipairs(levels) do set(level[1], string.format('%.6f', level[2]), level[1] .. '_at', ms(now)) end
if probing then set('probe_until', ms(now + tonumber(ARGV[3]))) end
redis.call('ZADD', calls, ms(now + tonumber(ARGV[3])), call)
redis.call('HINCRBY', limit, 'goal:' .. goal, 1)
redis.call('ZREM', waiting, goal)
redis.call('EXPIRE', limit, KEEP)
redis.call('EXPIRE', calls, KEEP)
return {'GO'}
