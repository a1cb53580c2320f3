"""One-line mutations of scripts and decisions, each of which breaks a promise. All must be caught: see __main__.py."""

from __future__ import annotations

from typing import NamedTuple

LUA = "pursuit/store/lua/"


class Mutant(NamedTuple):
    """`old` stands exactly once in the file; `new` takes its place."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant("start ignores a live lease", LUA + "start.lua", "if record.lease > now then return {'BUSY'} end", ""),
    Mutant("start runs ended jobs", LUA + "start.lua", "elseif record.state ~= 'queued' then return {'DONE'} end", "end"),
    Mutant("start leaves the due entry where it was", LUA + "start.lua", "attend(job, ms(now + lease))\n", ""),
    Mutant("start runs jobs of final goals", LUA + "start.lua", "if not status or final(status) then return {'GONE'} end", "if not status then return {'GONE'} end"),
    Mutant("start forgets its own nonce", LUA + "start.lua", "if record.owner == nonce then return run() end", ""),
    Mutant("start runs jobs of paused goals", LUA + "start.lua", "if get('wish') == 'pause' or status == 'paused' or status == 'blocked' then", "if status == 'blocked' then"),
    Mutant("start takes every version", LUA + "start.lua", "if version > SCHEMA or version < OLDEST then return {'HOLD'} end", ""),
    Mutant("start knows no last attempt", LUA + "start.lua", "if tries >= tonumber(ARGV[5]) then return {'DEAD'} end", ""),
    Mutant("beat keeps anybody's lease", LUA + "beat.lua", " or record.owner ~= ARGV[3]", ""),
    Mutant("beat leaves the due entry", LUA + "beat.lua", "attend(job, ms(record.lease))\n", ""),
    Mutant("journal takes anybody's entries", LUA + "journal.lua", " or record.owner ~= ARGV[3]", ""),
    Mutant("journal takes entries twice", LUA + "journal.lua", "if length > index then", "if false then"),
    Mutant("journal takes entries after the end", LUA + "journal.lua", "if not status or final(status) then return {'GONE'} end", ""),
    Mutant("finish takes anybody's result", LUA + "finish.lua", " or record.owner ~= nonce then return {'LOST'}", " then return {'LOST'}"),
    Mutant("finish records after the end", LUA + "finish.lua", "if final(status) then return {'GONE'} end\n", ""),
    Mutant("finish takes a repeated call for a stranger's", LUA + "finish.lua", "if record and record.owner == nonce and record.ended and record.state ~= 'cut' then return {'DUP', 0, status} end\n", ""),
    Mutant("the join starts one too low", LUA + "finish.lua", "set('join:' .. round, #jobs,", "set('join:' .. round, #jobs - 1,"),
    Mutant("the join counts twice", LUA + "_lib.lua", "if count('join:' .. round, -1) > 0", "if count('join:' .. round, -2) > 0"),
    Mutant("the join never fires", LUA + "_lib.lua", "if count('join:' .. round, -1) > 0", "if count('join:' .. round, -1) >= 0"),
    Mutant("opened jobs have no due entry", LUA + "_lib.lua", "    redis.call('ZADD', due, unpack(entries))\n", ""),
    Mutant("ended jobs keep their due entry", LUA + "_lib.lua", "    redis.call('ZREM', due, goal_id .. ' ' .. job)\n", ""),
    Mutant("ended jobs stay open", LUA + "_lib.lua", "    redis.call('SREM', goal .. ':open', job)\n", ""),
    Mutant("events are numbered by twos", LUA + "_lib.lua", "count('seq', 1)", "count('seq', 2)"),
    Mutant("a final goal keeps its jobs", LUA + "_lib.lua", "        redis.call('ZREM', due, unpack(entries))\n", ""),
    Mutant("a final goal never expires", LUA + "_lib.lua", "    for _, key in ipairs(keys) do redis.call('EXPIRE', key, seconds) end\n", ""),
    Mutant("a goal stays in its old list", LUA + "_lib.lua", "    redis.call('ZREM', shard .. ':goals:' .. from, goal_id)\n", ""),
    Mutant("a question doesn't block", LUA + "_lib.lua", "== redis.call('SCARD', goal .. ':open') then", "== -1 then"),
    Mutant("commands are carried out each time they come", LUA + "_lib.lua", "if not before then return nil end", "if true then return nil end"),
    Mutant("sweep takes what isn't due", LUA + "sweep.lua", "if not score or tonumber(score) > now then", "if not score then"),
    Mutant("sweep publishes and forgets", LUA + "sweep.lua", "attend(job, ms(now + math.min(wait, tonumber(ARGV[5]))))", "redis.call('ZREM', due, member)"),
    Mutant("a buried job doesn't count in the join", LUA + "sweep.lua", "local last = conclude(job, record, 'buried', ARGV[7], tonumber(ARGV[6]))", "record.state = 'buried' save(job, record) redis.call('SREM', goal .. ':open', job) redis.call('ZREM', due, member) local last = 0"),
    Mutant("a poisoned job is never buried", LUA + "sweep.lua", "if record.fruitless >= tonumber(ARGV[3]) then", "if false then"),
    Mutant("waiting for the provider counts as killing", LUA + "_lib.lua", "return record.limited and before or before + 1, length", "return before + 1, length"),
    Mutant("a job let in still counts as waiting", LUA + "limited.lua", "else record.limited, record.limit = nil, nil end", "end"),
    Mutant("a lost job still counts as leased", LUA + "sweep.lua", "    count('leased', -1)\n    disown(record, record.lease)\n    record.state, record.dispatches", "    disown(record, record.lease)\n    record.state, record.dispatches"),
    Mutant("redispatch doesn't back off", LUA + "sweep.lua", " * 2 ^ math.min(record.dispatches, 20)", ""),
    Mutant("park forgets to free the slot", LUA + "park.lua", "count('leased', -1)\n", ""),
    Mutant("park parks for anybody", LUA + "park.lua", " or record.owner ~= ARGV[3] then return {'LOST'}", " then return {'LOST'}"),
    Mutant("a released job is never due again", LUA + "park.lua", "if get('wish') ~= 'pause' then attend(job, ms(now)) end", ""),
    Mutant("an answer wakes nobody", LUA + "answer.lua", "    attend(question.job, ms(now))\n", ""),
    Mutant("a second answer overwrites the first", LUA + "answer.lua", "if question.answer and question.answer ~= cjson.null then", "if false then"),
    Mutant("resume wakes nobody", LUA + "resume.lua", "        attend(job, at)\n", ""),
    Mutant("resume opens no plan where nothing is open", LUA + "resume.lua", "    open_job('r' .. round .. '-plan', ms(now))\n", ""),
    Mutant("a pending pause isn't heard", LUA + "_lib.lua", "if get('wish') == 'pause' and tonumber(get('leased')) == 0 then", "if false then"),
    Mutant("the same submission makes two goals", LUA + "submit.lua", "if known then", "if false then"),
    Mutant("young rounds are compacted", LUA + "compact.lua", " or round + tonumber(ARGV[3]) >= tonumber(get('round'))", ""),
    Mutant("a new server is noted again and again", LUA + "recover.lua", " or get('server') == ARGV[2]", ""),
    Mutant("any met criterion completes", "pursuit/round.py", "    if verdict.all_met:", "    if verdict.met:"),
    Mutant("quiet rounds never stall", "pursuit/round.py", "if streak.quiet >= QUIET_ROUNDS:", "if streak.quiet > QUIET_ROUNDS:"),
    Mutant("the same blocker is overlooked", "pursuit/round.py", "if streak.same_blocker >= SAME_BLOCKER:", "if False:"),
    Mutant("a spent budget is overlooked", "pursuit/round.py", "    if spent:", "    if False:"),
    Mutant("a round is left out", "pursuit/round.py", "return NextRound(round=goal.round + 1)", "return NextRound(round=goal.round + 2)"),
    Mutant("an attempt resumes from nothing", "worker/roles/agent.py", "            self._entries = await self._store.journal_of(self._attempt.ref)\n", "            pass\n"),
    Mutant("a resumed attempt runs recorded tools again", "worker/roles/agent.py", "if call.id not in done]", "]"),
    Mutant("nobody stops at the end of a lease", "worker/keeper.py", "if now >= kept.until:", "if False:"),
    Mutant("a lost lease isn't heard", "worker/keeper.py", "            elif beat is not None:\n", "            elif False:\n"),
    Mutant("a cancelled goal's attempts run on", "worker/keeper.py", "            if known is not None and known.over:", "            if False:"),
    Mutant("a pause isn't heard in mid-call", "worker/keeper.py", "                kept.tell(known.wish, known.guided)", "                pass"),
    Mutant("start begins jobs of waiting goals", LUA + "start.lua", "if wakes and wakes > now then", "if false then"),
    Mutant("a waiting goal never wakes", LUA + "sweep.lua", "    if wakes > now then\n", "    if true then\n"),
    Mutant("a wait parks its job for ever", LUA + "park.lua", "    attend(job, ms(wakes))\n    event", "    event"),
    Mutant("waiting goes on for ever", LUA + "park.lua", "> WAIT_MOST then", "> 1e18 then"),
    Mutant("a call isn't held in the budget", LUA + "_lib.lua", "    hold(record, wanted)\n", ""),
    Mutant("what an attempt held stays held", LUA + "_lib.lua", "    hold(record, nil)\n    record.active", "    record.active"),
    Mutant("nothing is kept for closing", LUA + "_lib.lua", "local KEPT = {work = 0.1, close = 0.03, report = 0}", "local KEPT = {work = 0, close = 0, report = 0}"),
    Mutant("the warning comes with each step", LUA + "_lib.lua", "    if get('warned') then return end\n", ""),
    Mutant("what a call cost is forgotten", LUA + "journal.lua", "    if tonumber(ARGV[11]) > 0 then count('used_micros', ARGV[11]) end\n", ""),
    Mutant("the window never shrinks", LUA + "release.lua", "* 0.7))", "* 1))"),
    Mutant("the window shrinks with each refusal", LUA + "release.lua", "if now - number('shrunk_at', 0) >= 2000 then", "if true then"),
    Mutant("the window never grows", LUA + "release.lua", "window + (window < threshold and 1 or 1 / window)", "window"),
    Mutant("Retry-After is overheard", LUA + "admit.lua", "if closed > now then return wait(closed - now, get('closed_why')) end\n", ""),
    Mutant("a used-up quota stops nobody", LUA + "admit.lua", "if quota > now then return {'QUOTA', ms(quota - now)} end\n", ""),
    Mutant("everybody asks whether there is quota again", LUA + "admit.lua", "if probing and number('probe_until', 0) > now then", "if false then"),
    Mutant("a wide goal starves a small one", LUA + "admit.lua", "if other ~= goal and number('goal:' .. other, 0) < mine then", "if false then"),
    Mutant("calls of the dead keep their slots", LUA + "admit.lua", "do free(lost) end", "do end"),
    Mutant("a call that ends twice counts twice", LUA + "_limit.lua", "    if redis.call('ZREM', calls, call) == 0 then return false end\n", "    redis.call('ZREM', calls, call)\n"),
    Mutant("a tool begun and not recorded is run again", "worker/roles/agent.py", "        if starts:\n", "        if False:\n"),
    Mutant("the same call goes on for ever", "worker/roles/agent.py", ">= SAME_RESULT", ">= 10**9"),
    Mutant("secrets are written down", "worker/roles/agent.py", '"ok": worked, "text": self._clean.text(text)}', '"ok": worked, "text": text}'),
)  # fmt: skip
