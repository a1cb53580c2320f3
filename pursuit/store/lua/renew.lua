-- Shows that calls in flight are alive: whoever makes them says so every few seconds, and the dead lose their slots.
--
-- KEYS[1] limit     hash  not touched
-- KEYS[2] calls     zset  their times move on
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] patience  ms after which a call without a word counts as lost
-- ARGV[3] calls     JSON list of '<goal> <id>'
--
-- returns {RENEWED, how many are still counted as alive}

local ends, alive = ms(now + tonumber(ARGV[2])), 0
for _, call in ipairs(cjson.decode(ARGV[3])) do
    if redis.call('ZSCORE', KEYS[2], call) then
        redis.call('ZADD', KEYS[2], ends, call)
        alive = alive + 1
    end
end
return {'RENEWED', alive}
