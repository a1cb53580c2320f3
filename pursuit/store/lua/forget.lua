-- Takes a goal whose keys have expired out of the lists.
--
-- KEYS[1] goal  hash  gone by now
-- KEYS[2] due   zset  not touched
-- ARGV[1] now   ms, or '' for the time of Redis
--
-- returns {FORGOTTEN} or {KEPT} (it is there still, or again)

if get('status') then return {'KEPT'} end
for _, status in ipairs({'completed', 'cancelled'}) do
    redis.call('ZREM', shard .. ':goals:' .. status, goal_id)
end
redis.call('ZREM', shard .. ':expiring', goal_id)
return {'FORGOTTEN'}
