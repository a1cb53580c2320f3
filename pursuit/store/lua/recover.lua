-- Notes in a goal that Redis is another server process than before: what came last may be lost.
--
-- KEYS[1] goal    hash  server, generation
-- KEYS[2] due     zset  not touched: whatever work is missing is still due
-- ARGV[1] now     ms, or '' for the time of Redis
-- ARGV[2] server  run id of the Redis process
--
-- returns {NOTED, generation} or {KNOWN} (noted already, or the goal is final)

local status = get('status')
if not status or final(status) or get('server') == ARGV[2] then return {'KNOWN'} end
set('server', ARGV[2])
count('revision', 1)
local generation = count('generation', 1)
event('gap', 'engine', {generation = generation, why = 'Redis was started anew: its last moments may be missing'})
return {'NOTED', generation}
