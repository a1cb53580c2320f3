-- Shared by the governor's scripts and put in front of them. One account's limits hold for the whole fleet.
--
--   KEYS[1]  the account's hash: window, buckets, closures, and goal:<id>, calls in flight by goal
--   KEYS[2]  its calls in flight: call -> time at which it counts as lost; a call is named '<goal> <id>'
--   ARGV[1]  now in ms, or '' for the time of Redis (tests pass a clock of their own)

local limit, calls, waiting = KEYS[1], KEYS[2], KEYS[1] .. ':waiting'
local now = tonumber(ARGV[1])
if not now then
    local t = redis.call('TIME')
    now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
-- seconds an account's state outlives its last call
local KEEP = 7 * 86400

local function ms(number) return string.format('%.0f', number) end
local function get(field) return redis.call('HGET', limit, field) end
local function number(field, default) return tonumber(get(field) or default) end
local function set(...) redis.call('HSET', limit, ...) end
local function drop(...) redis.call('HDEL', limit, ...) end

-- A call is over: its slot is free. False: it was over before.
local function free(call)
    if redis.call('ZREM', calls, call) == 0 then return false end
    local goal = 'goal:' .. string.match(call, '^%S+')
    if redis.call('HINCRBY', limit, goal, -1) <= 0 then drop(goal) end
    return true
end
