"""The scripts that run inside Redis: what Laravel's LuaScripts do, in one call for each turn of a worker.

A queue has Laravel's four keys: the list `queues:NAME`, the sorted sets `:delayed` and `:reserved`, whose scores are
when a job is due, and the list `:notify`, which has one element for each job of the list, for those who wait.

**The score of a lease** is when it runs out, in whole seconds as Laravel's, and behind the point the token of the call
that began it, which is even, or 1 more for a job that an earlier worker has died with. PHP's leases have the token 0.
So a worker whose answer was lost finds what its call has begun, the end of a lease that ran out changes nothing even
where another worker has a job of the same bytes by now, and nothing has to be written for that. 21 bits fit into a
double beside the seconds until 2106.

**A lease that ran out** is begun anew straight from `:reserved`, before the list: its score alone tells that a worker
has died with the job. PHP's workers move it to the end of the list, where it looks like any other one.

**The attempts** are counted in the payload's own text. Laravel decodes and encodes it by cjson, which makes `[]` into
`{}` and drops digits of large numbers.

**Members of a sorted set are unique**: a job whose payload is there already, to the byte, would replace the other one.
It gets blanks at its end, which JSON does not see.

**The first write of each script frees memory** (ZREM, LPOP), but for a push: Redis refuses others when its memory is
full, but none after the first. So workers go on, and no script ends in its middle.

**A key that is no queue's says so before a job is touched**: a script that ends by an error keeps what it has written.
"""

import hashlib
from dataclasses import dataclass, field

from lamplighter.queue.drivers.redis.parts import ATTEMPTS, COMMON, SELDOM

TOKENS = 1 << 21

# KEYS: the list and `:notify`, or `:delayed` and `:notify`. ARGV: the delay, whether somebody is to look for it soon,
# until when this may be done by the server's clock and how many seconds from now that may be, then the payloads.
# Returns nothing, or the time where nothing was done: it is too late, as for a server that was frozen and whose client
# has gone to another one meanwhile, or the client goes by another clock.
# The note is left first: what is no list says so before a job is on the other one.
PUSH = (
    r"""
local call = redis.call
local time = call('time')
local left = ARGV[3] - time[1] - time[2] / 1000000
if left < 0 or left > tonumber(ARGV[4]) then return string.format('%.6f', time[1] + time[2] / 1000000) end
if ARGV[1] == '0' and not ARGV[6] then
    call('rpush', KEYS[2], '1')
    call('rpush', KEYS[1], ARGV[5])
    return
end
"""
    + COMMON
    + SELDOM
    + r"""
local delay = tonumber(ARGV[1])
call('llen', KEYS[2])
if delay == 0 then
    append(KEYS[1], KEYS[2], ARGV, 5)
else
    for number = 5, #ARGV do add(KEYS[1], due(delay), ARGV[number]) end
    if ARGV[2] == '1' then notify(KEYS[2], 1) end
end
"""
)

# KEYS: four of each queue. ARGV:
#   1, 2: from how many of these queues jobs are taken, in their order (the others have only ends), and how many;
#   3, 4: the seconds of a lease, and the token of this call, which is even;
#   5: how many jobs that are due are moved to a list at most, and 6: 0 where that was done just now, so that it is done
#      only for queues without another job;
#   7: what else there is to do: nothing, `lost` where the answer to a call with this token was lost, or the queues of
#      notes that this worker has taken from `:notify` while it waited, as `2,1,1`.
# Then of jobs that are done the queue, `d`, how many, their tokens and their members; then of each other lease that has
# ended the queue, how, the token, the member, the delay, and the payload that goes back.
# Returns the number of the queue, then of each job its text, and how the other text is made of it, as `edit` says: of
# one that begins now the payload and the member; of one that a lost call has begun the member and the payload, the
# number is negative. Where blanks were added, from and to are -1, and the whole other text is there. An exclamation
# mark at the end of the last one says that a worker has died with the job.
# Where there is no job: 0, and the seconds until one is due, where that is known.
TAKE = (
    r"""
local at, seen = 8, nil
while ARGV[at + 1] == 'd' do
    local count = tonumber(ARGV[at + 2])
    seen = KEYS[ARGV[at] * 4 - 1]
    if count == 1 then
        if holds(seen, ARGV[at + 4], ARGV[at + 3]) then call('zrem', seen, ARGV[at + 4]) end
    else
        local tokens, members, gone = at + 2, at + 2 + count, {}
        local scores = call('zmscore', seen, unpack(ARGV, members + 1, members + count))
        for number = 1, count do
            if scores[number] and scores[number] % 1 == ARGV[tokens + number] / TOKENS then
                gone[#gone + 1] = ARGV[members + number]
            end
        end
        if gone[1] then call('zrem', seen, unpack(gone)) end
    end
    at = at + 3 + 2 * count
end
local most = tonumber(ARGV[2])
local until_ = lease_score(ARGV[3], ARGV[4])

-- Begin jobs, and add them to an answer.
local function begin(jobs, reserved, answer, score, mark)
    for number = 1, #jobs do
        local job = jobs[number]
        local from, to, text, member
        if sub(job, -14) == ',"attempts":0}' then
            from = #job - 1
            to, text, member = from, '1', sub(job, 1, -3) .. '1}'
        else
            from, to, text, member = edit(job, 1)
        end
        local blanks = add(reserved, score, member)
        if blanks ~= '' then from, to, text = -1, -1, member .. blanks end
        local last = #answer
        answer[last + 1], answer[last + 2], answer[last + 3], answer[last + 4] = job, from, to, text .. mark
    end
end

-- Begin so many jobs of a list; how many there were.
local function begin_listed(list, reserved, answer, count)
    if count == 0 then return 0 end
    local jobs
    if count == 1 then
        local job = call('lpop', list)
        if not job then return 0 end
        jobs = {job}
    else
        jobs = call('lpop', list, count)
        if not jobs then return 0 end
    end
    begin(jobs, reserved, answer, until_, '')
    return #jobs
end

-- What most calls are: nothing else to do, and the first queue has a job.
if ARGV[6] == '0' and ARGV[7] == '' and not ARGV[at] and most > 0 and ARGV[1] ~= '0' then
    -- What is no queue's says so before a job is removed. A note whose job is not there is of no use.
    if seen ~= KEYS[3] then call('zcard', KEYS[3]) end
    if most == 1 then call('lpop', KEYS[4]) else call('llen', KEYS[4]) end
    local answer = {1}
    local taken = begin_listed(KEYS[1], KEYS[3], answer, most)
    if taken > 0 then
        -- One note for each job.
        if most > 1 then call('lpop', KEYS[4], taken) end
        return answer
    end
end
"""
    + SELDOM
    + r"""
local queues, token, moved = tonumber(ARGV[1]), tonumber(ARGV[4]), ARGV[5]
local until_of_dead = lease_score(ARGV[3], token + 1)

-- What is no queue's says so before anything is written.
for key = 1, #KEYS, 4 do
    call('llen', KEYS[key]) call('zcard', KEYS[key + 1]) call('zcard', KEYS[key + 2]) call('llen', KEYS[key + 3])
end

local function settle(at)
    local first, how, member, delay = ARGV[at] * 4 - 3, ARGV[at + 1], ARGV[at + 3], tonumber(ARGV[at + 4])
    local reserved = KEYS[first + 2]
    if not holds(reserved, member, ARGV[at + 2]) then return end
    call('zrem', reserved, member)
    if how == 'r' then
        add(KEYS[first + 1], due(delay), member)
    elseif ARGV[at + 2] % 2 == 1 then
        -- It lies where a worker that died has left it: only there the next one sees that. What is given back is first.
        add(reserved, how == 'e' and due(delay) or 0, ARGV[at + 5])
        if how == 'g' then notify(KEYS[first + 3], 1) end
    elseif how == 'e' then
        add(KEYS[first + 1], due(delay), ARGV[at + 5])
    else
        call('lpush', KEYS[first], ARGV[at + 5])
        notify(KEYS[first + 3], 1)
    end
end

for place = at, #ARGV, 6 do settle(place) end

local function begun_before(number, reserved)
    local answer, all = {-number}, call('zrange', reserved, 0, -1, 'withscores')
    for place = 1, #all, 2 do
        local of = all[place + 1] % 1 * TOKENS
        if of == token or of == token + 1 then
            call('zrem', reserved, all[place])
            call('zadd', reserved, of == token and until_ or until_of_dead, all[place])
            local from, to, text = edit(all[place], -1)
            if of ~= token then text = text .. '!' end
            for _, one in ipairs({all[place], from, to, text}) do answer[#answer + 1] = one end
        end
    end
    return answer
end

if ARGV[7] == 'lost' then
    for number = 1, queues do
        local answer = begun_before(number, KEYS[number * 4 - 1])
        if answer[2] then return answer end
    end
end

local function move_due(set, list, notes)
    local jobs = call('zrangebyscore', set, '-inf', now_text, 'limit', 0, moved)
    if jobs[1] == nil then return end
    call('zremrangebyrank', set, 0, #jobs - 1)
    append(list, notes, jobs, 1)
end

-- Jobs whose leases have run out, straight from where they lie: in the list nothing would tell that a worker died.
local function begin_dead(reserved, list, answer)
    local dead = call('zrangebyscore', reserved, '-inf', now_text, 'limit', 0, most)
    if dead[1] == nil then return 0 end
    call('zremrangebyrank', reserved, 0, #dead - 1)
    begin(dead, reserved, answer, until_of_dead, '!')
    return #dead
end

local function take_of(number)
    local list, delayed, reserved, notes = unpack(KEYS, number * 4 - 3, number * 4)
    local answer, taken = {number}, 0
    if ARGV[6] == '0' then taken = begin_listed(list, reserved, answer, most) end
    if taken == 0 then
        move_due(delayed, list, notes)
        local left = most - begin_dead(reserved, list, answer)
        taken = begin_listed(list, reserved, answer, left)
        if left > 0 and taken == 0 then call('del', notes) end -- stale: no job is there
    end
    if answer[2] then return answer, taken end
end

local answer
if most > 0 then
    local notes = {}
    for number in string.gmatch(ARGV[7], '%d+') do
        notes[tonumber(number)] = (notes[tonumber(number)] or 0) + 1
    end
    for number = 1, queues do
        local taken
        answer, taken = take_of(number)
        if answer then
            -- One note for each job. What was taken while waiting is not taken again; what is too much goes back.
            local left = (notes[number] or 0) - taken
            notes[number] = math.max(0, left)
            if left < 0 then
                if left == -1 then call('lpop', KEYS[number * 4])
                else call('lpop', KEYS[number * 4], -left) end
            end
            break
        end
        notes[number] = nil
    end
    for number, count in pairs(notes) do
        notify(KEYS[number * 4], math.min(count, call('llen', KEYS[number * 4 - 3])))
    end
end
if answer then return answer end

local first
for number = 1, queues do
    for key = number * 4 - 2, number * 4 - 1 do
        local score = call('zrange', KEYS[key], 0, 0, 'withscores')[2]
        if score and (not first or tonumber(score) < first) then first = tonumber(score) end
    end
end
return first and {0, string.format('%.6f', math.max(0, first - now))} or {0}
"""
)

# KEYS: `:reserved` of queues. ARGV: the seconds, then of each lease `queue token` and its member. Returns the places
# of those that others may have, from 0.
RENEW = r"""
local lost = {}
for at = 2, #ARGV, 2 do
    local queue, token = string.match(ARGV[at], '^(%d+) (%d+)$')
    local reserved, member = KEYS[tonumber(queue)], ARGV[at + 1]
    if holds(reserved, member, tonumber(token)) then
        redis.call('zrem', reserved, member)
        redis.call('zadd', reserved, lease_score(tonumber(ARGV[1]), tonumber(token)), member)
    else
        lost[#lost + 1] = at / 2 - 1
    end
end
return lost
"""

# KEYS: four. Returns what may be taken now, later, what workers have, and the first payload of the list.
SIZES = r"""
local waiting = redis.call('llen', KEYS[1])
local late = redis.call('zcount', KEYS[2], '-inf', now_text)
local lost = redis.call('zcount', KEYS[3], '-inf', now_text)
return {waiting + late + lost, redis.call('zcard', KEYS[2]) - late, redis.call('zcard', KEYS[3]) - lost,
    redis.call('lindex', KEYS[1], 0)}
"""

CLEAR = r"""
local count = redis.call('llen', KEYS[1]) + redis.call('zcard', KEYS[2]) + redis.call('zcard', KEYS[3])
redis.call('del', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return count
"""

# KEYS: `:delayed`. ARGV: the lowest score, or nothing for what is due later than now; how many of that score are passed
# over; how many are returned. Returns of each its payload and its score.
HELD = r"""
local first = ARGV[1] == '' and '(' .. now_text or ARGV[1]
return redis.call('zrangebyscore', KEYS[1], first, '+inf', 'withscores', 'limit', ARGV[2], ARGV[3])
"""

# KEYS: `:delayed`. ARGV: how many of the last ones are passed over, and how many are looked at; a digest, then texts.
# Returns how many there were to look at, then those which have this digest or hold one of the texts. From the end: what
# becomes due meanwhile leaves at the front, and moves no other past the look.
FIND = r"""
local all = redis.call('zrevrange', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
local found = {#all}
for _, member in ipairs(all) do
    local is_found = ARGV[3] ~= '' and redis.sha1hex(member) == ARGV[3]
    for at = 4, #ARGV do is_found = is_found or string.find(member, ARGV[at], 1, true) end
    if is_found then found[#found + 1] = member end
end
return found
"""

# KEYS: `:delayed`. ARGV: members. Returns how many were removed: what is due by now is not.
CANCEL = r"""
local count = 0
for _, member in ipairs(ARGV) do
    local score = redis.call('zscore', KEYS[1], member)
    if score and tonumber(score) > now then count = count + redis.call('zrem', KEYS[1], member) end
end
return count
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the digest that a server which has it knows it by."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode()).hexdigest())


push = Script(PUSH)
take = Script(COMMON + ATTEMPTS + TAKE)
renew = Script(COMMON + RENEW)
sizes = Script(COMMON + SELDOM + SIZES)
clear = Script(CLEAR)
held = Script(COMMON + SELDOM + HELD)
find = Script(FIND)
cancel = Script(COMMON + CANCEL)
