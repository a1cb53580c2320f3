-- Records a person's answer and sets the sub-agent that asked going again.
--
-- KEYS[1] goal      hash  counters, status
-- KEYS[2] due       zset  the asking job becomes due now
-- ARGV[1] now       ms, or '' for the time of Redis
-- ARGV[2] question  id
-- ARGV[3] answer    text
--
-- returns {ANSWERED, job}
-- errors  NOTFOUND  no such question
--         ANSWERED  somebody else answered first

local known = redis.call('HGET', goal .. ':questions', ARGV[2])
if not known then return fail('NOTFOUND', ARGV[2]) end
local question = cjson.decode(known)
if question.answer and question.answer ~= cjson.null then
    if question.answer == ARGV[3] then return {'ANSWERED', question.job} end
    return fail('ANSWERED', ARGV[2])
end
local status = get('status')
if not status or final(status) then return fail('GOALSTATE', status or 'deleted') end

question.answer, question.answered_at = ARGV[3], ms(now)
redis.call('HSET', goal .. ':questions', ARGV[2], cjson.encode(question))
redis.call('ZREM', shard .. ':inbox', goal_id .. ' ' .. ARGV[2])
event('question.answered', 'person', {question = ARGV[2], subtask = question.job, answer = ARGV[3]})
local record = load(question.job)
if record and record.state == 'parked' and record.question == ARGV[2] then
    record.state, record.question = 'queued', nil
    save(question.job, record)
    count('parked', -1)
    attend(question.job, ms(now))
    local asked = {question = true, approval = true, sign_off = true}
    if status == 'blocked' and asked[get('reason')] then move('running', '', '', 'engine') end
end
return {'ANSWERED', question.job}
