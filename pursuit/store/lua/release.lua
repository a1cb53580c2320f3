-- Notes how a model call went, for everybody who pays with the account: additive increase, multiplicative decrease.
--
-- KEYS[1] limit    hash  the account's state
-- KEYS[2] calls    zset  the call leaves
-- ARGV[1] now      ms, or '' for the time of Redis
-- ARGV[2] call     '<goal> <id>'
-- ARGV[3] how      ok | limited | failed | quota | denied | other
-- ARGV[4] span     ms that the provider asks to wait, for limited and quota; '' where it doesn't say
-- ARGV[5] tokens   that were taken beyond what was announced
-- ARGV[6] ceiling  of the window
-- ARGV[7] first    window of an account that nobody has called
-- ARGV[8] text     for denied
--
-- returns {NOTED, ms for which the account is closed} or {KNOWN} (noted before, or counted as lost)

local flying = redis.call('ZCARD', KEYS[2])
if not free(ARGV[2]) then return {'KNOWN', 0} end
drop('probe_until')
local how, span, ceiling = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local window = math.min(number('window', ARGV[7]), ceiling)
if tonumber(ARGV[5]) ~= 0 and get('tokens') then redis.call('HINCRBYFLOAT', limit, 'tokens', -tonumber(ARGV[5])) end
local function close(field, wait)
    local ends = math.max(number(field, 0), now + wait)
    set(field, ms(ends))
    return {'NOTED', ms(ends - now)}
end

if how == 'ok' then
    drop('failures', 'half', 'quota_until', 'quota_tries', 'denied_until', 'denied', 'limited')
    -- a window that isn't used says nothing about what a larger one would meet
    if flying >= window / 2 then
        local threshold = number('threshold', ceiling)
        set('window', math.min(ceiling, window + (window < threshold and 1 or 1 / window)))
    end
elseif how == 'limited' then
    local times = redis.call('HINCRBY', limit, 'limited', 1)
    if now - number('shrunk_at', 0) >= 2000 then
        local smaller = math.max(1, math.floor(math.min(window, flying) * 0.7))
        set('window', smaller, 'threshold', smaller, 'shrunk_at', ms(now))
    end
    set('closed_why', 'rate')
    return close('closed_until', span or math.min(60000, 500 * 2 ^ math.min(times, 7)))
elseif how == 'failed' then
    local failures = redis.call('HINCRBY', limit, 'failures', 1)
    if failures >= 10 then
        set('half', 1, 'closed_why', 'outage')
        return close('closed_until', math.min(60000, 1000 * 2 ^ math.min(failures - 10, 6)))
    end
elseif how == 'quota' then
    -- where the provider names no time: 5 minutes, then twice as long each time, an hour at most
    local tries = redis.call('HINCRBY', limit, 'quota_tries', 1)
    return close('quota_until', span and span + 1000 or math.min(3600000, 300000 * 2 ^ math.min(tries - 1, 4)))
elseif how == 'denied' then
    set('denied', ARGV[8])
    return close('denied_until', 30000)
end
return {'NOTED', 0}
