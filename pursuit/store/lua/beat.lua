-- Keeps an attempt's lease alive and tells it what the person wants.
--
-- KEYS[1] goal   hash  wish, status
-- KEYS[2] due    zset  the job's entry moves with the lease
-- ARGV[1] now    ms, or '' for the time of Redis
-- ARGV[2] job    r<round>-<name>
-- ARGV[3] nonce  the attempt's fence
-- ARGV[4] lease  ms
--
-- returns {KEPT, wish} or {LOST} (another attempt has it, or it is over) or {GONE} (the goal is final)

local job = ARGV[2]
local status = get('status')
if not status or final(status) then return {'GONE'} end
local record = load(job)
if not owns(record, ARGV[3]) then return {'LOST'} end
if record.state == 'cut' then return {'KEPT', get('wish')} end
record.lease = now + tonumber(ARGV[4])
save(job, record)
attend(job, ms(record.lease))
return {'KEPT', get('wish')}
