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

**The first write of each script frees memory** (ZREM, LPOP): Redis refuses others when its memory is full, but none
after the first. So workers go on, and no script ends in its middle.
"""

import hashlib
from dataclasses import dataclass, field

TOKENS = 1 << 21

# The place of the attempts in a payload: from, to, and how many; nothing where they can't be read. A payload without
# any has them written behind its last field, from > to.
ATTEMPTS = r"""
local find, match, sub = string.find, string.match, string.sub

local function counted(text, from, to)
    local digits = sub(text, from, to)
    if digits == 'null' then return from, to, 0 end
    if #digits <= 9 then return from, to, tonumber(digits) end
end

-- Behind the quote that ends a text; nothing where there is none.
local function behind_text(text, at)
    while true do
        at = find(text, '["\\]', at)
        if not at then return nil end
        if sub(text, at, at) == '"' then return at + 1 end
        at = at + 2
    end
end

local function attempts(text)
    -- Where Laravel and we write them: the last field, or the one before `delay`. Behind a quote and a comma begins a
    -- name, and the bracket at the very end is that of the whole.
    local tail = math.max(1, #text - 80)
    local from, to = match(text, ',"attempts":()%d+()}$', tail)
    if not from then from, to = match(text, ',"attempts":()%d+(),"delay":[%w.-]+}$', tail) end
    if from then return counted(text, from, to - 1) end
    local at = match(text, '^%s*{()')
    if not at then return nil end
    local depth, found, last = 1, nil, nil
    while depth > 0 do
        local mark
        at, mark = match(text, '()(["{}%[%]])', at)
        if not at then return nil end
        if mark == '"' then
            local after = behind_text(text, at + 1)
            if not after then return nil end
            if depth == 1 and sub(text, at, after - 1) == '"attempts"' and find(text, '^%s*:', after) then
                local first, behind = match(text, '^%s*:%s*()%d+()%s*[,}]', after)
                if not first then first, behind = match(text, '^%s*:%s*()null()%s*[,}]', after) end
                if not first then return nil end
                found, last = first, behind - 1
            end
            at = after
        else
            depth = depth + ((mark == '{' or mark == '[') and 1 or -1)
            at = at + 1
        end
    end
    if sub(text, at - 1, at - 1) ~= '}' or find(text, '%S', at) then return nil end
    if found then return counted(text, found, last) end
    return at - 1, at - 2, 0
end

-- How a text with other attempts is made of it: from, to, and what stands there; nothing where it stays as it is.
local function edit(text, by)
    local from, to, count = attempts(text)
    if not from then return '' end
    local now = string.format('%d', math.max(0, count + by))
    if from > to then
        now = '"attempts":' .. now
        if not find(sub(text, 1, to), '{%s*$') then now = ',' .. now end
    end
    return string.format('%d %d %s', from, to, now), sub(text, 1, from - 1) .. now .. sub(text, to + 1)
end
"""

COMMON = r"""
local TOKENS = 2097152
local time = redis.call('time')
local now = time[1] + time[2] / 1000000
local now_text = string.format('%.6f', now)

-- A microsecond more, so that rounding makes none early.
local function due(delay)
    return delay > 0 and string.format('%.6f', now + delay + 0.000001) or now_text
end

local function lease_score(seconds, token)
    return string.format('%.17g', math.ceil(now + seconds) + token / TOKENS)
end

local function token_of(score)
    score = tonumber(score)
    return (score - math.floor(score)) * TOKENS
end

local function holds(reserved, member, token)
    local score = redis.call('zscore', reserved, member)
    return score and token_of(score) == token
end

-- Add a member, with blanks where there is one of the same bytes; these blanks.
local function add(set, score, member)
    if redis.call('zadd', set, 'NX', score, member) == 1 then return '' end
    local number = redis.call('zcard', set)
    while true do
        local blanks, rest = ' ', number
        while rest > 0 do
            blanks = blanks .. string.sub(' \t\n\r', rest % 4 + 1, rest % 4 + 1)
            rest = math.floor(rest / 4)
        end
        if redis.call('zadd', set, 'NX', score, member .. blanks) == 1 then return blanks end
        number = number + 1
    end
end

local function notify(list, count)
    for first = 1, count, 100 do
        local ones = {}
        for number = first, math.min(first + 99, count) do ones[#ones + 1] = '1' end
        redis.call('rpush', list, unpack(ones))
    end
end

local function append(list, notes, jobs)
    for first = 1, #jobs, 100 do
        redis.call('rpush', list, unpack(jobs, first, math.min(first + 99, #jobs)))
    end
    notify(notes, #jobs)
end
"""

# KEYS: the list and `:notify`, or `:delayed` and `:notify`. ARGV: the delay, whether somebody is to look for it soon,
# until when this may be done by the server's clock and how many seconds from now that may be, then the payloads.
# Returns nothing, or the time where nothing was done: it is too late, as for a server that was frozen and whose client
# has gone to another one meanwhile, or the client goes by another clock.
PUSH = r"""
local left = tonumber(ARGV[3]) - now
if left < 0 or left > tonumber(ARGV[4]) then return now_text end
local delay = tonumber(ARGV[1])
if delay == 0 then
    redis.call('llen', KEYS[2])
    local jobs = {}
    for number = 5, #ARGV do jobs[#jobs + 1] = ARGV[number] end
    append(KEYS[1], KEYS[2], jobs)
else
    for number = 5, #ARGV do add(KEYS[1], due(delay), ARGV[number]) end
    if ARGV[2] == '1' then notify(KEYS[2], 1) end
end
"""

# KEYS: four of each queue. ARGV[1] is numbers with blanks between them:
#   from how many of these queues jobs are taken, in their order (the others have only ends), and how many at most;
#   the seconds of a lease, the token of this call, and whether the answer to a call with this token was lost;
#   how many jobs that are due are moved to a list at most;
#   then the queues of notes that this worker has taken from `:notify` while it waited, as `2,1,1`, or `-`.
# The token is even. Then of each lease that has ended `queue how token delay`, the member, and the payload that goes
# back.
# Returns the number of the queue, then of each job its text, and how the other text is made of it: of one that begins
# now the payload and the member; of one that a lost call has begun the member and the payload, the number is negative.
# An exclamation mark at the end says that a worker has died with the job.
# Where there is none: 0, and the seconds until a job is due, where one is known.
TAKE = r"""
local queues, most, seconds, token, was_lost, moved, taken_notes =
    string.match(ARGV[1], '^(%d+) (%d+) (%S+) (%d+) (%d) (%d+) (%S+)$')
queues, most, token = tonumber(queues), tonumber(most), tonumber(token)
local until_ = lease_score(tonumber(seconds), token)
local until_of_dead = lease_score(tonumber(seconds), token + 1)

local function settle(at)
    local queue, how, of, delay = string.match(ARGV[at], '^(%d+) (%a) (%d+) (%S+)$')
    local first, member = queue * 4 - 3, ARGV[at + 1]
    local reserved = KEYS[first + 2]
    of = tonumber(of)
    if not holds(reserved, member, of) then return end
    if how ~= 'd' then redis.call('llen', KEYS[first]) redis.call('zcard', KEYS[first + 1]) end
    redis.call('zrem', reserved, member)
    if how == 'd' then return end
    if how == 'r' then
        add(KEYS[first + 1], due(tonumber(delay)), member)
    elseif of % 2 == 1 then
        -- It lies where a worker that died has left it: only there the next one sees that. What is given back is first.
        add(reserved, how == 'e' and due(tonumber(delay)) or 0, ARGV[at + 2])
        if how == 'g' then notify(KEYS[first + 3], 1) end
    elseif how == 'e' then
        add(KEYS[first + 1], due(tonumber(delay)), ARGV[at + 2])
    else
        redis.call('lpush', KEYS[first], ARGV[at + 2])
        notify(KEYS[first + 3], 1)
    end
end

for at = 2, #ARGV, 3 do settle(at) end

local function begun_before(number, reserved)
    local answer, all = {-number}, redis.call('zrange', reserved, 0, -1, 'withscores')
    for place = 1, #all, 2 do
        local of = token_of(all[place + 1])
        if of == token or of == token + 1 then
            redis.call('zadd', reserved, 'XX', of == token and until_ or until_of_dead, all[place])
            answer[#answer + 1] = all[place]
            answer[#answer + 1] = (edit(all[place], -1)) .. (of == token and '|' or '|!')
        end
    end
    return answer
end

if was_lost == '1' then
    for number = 1, queues do
        local answer = begun_before(number, KEYS[number * 4 - 1])
        if answer[2] then return answer end
    end
end

local function move_due(set, list, notes)
    local jobs = redis.call('zrangebyscore', set, '-inf', now_text, 'limit', 0, moved)
    if jobs[1] == nil then return end
    redis.call('llen', list) redis.call('llen', notes) -- what is no list says so before anything is removed
    redis.call('zremrangebyrank', set, 0, #jobs - 1)
    append(list, notes, jobs)
end

-- Jobs whose leases have run out, straight from where they lie: in the list nothing would tell that a worker died.
local function take_dead(reserved, list, answer)
    local dead = redis.call('zrangebyscore', reserved, '-inf', now_text, 'limit', 0, most)
    if dead[1] == nil then return 0 end
    redis.call('llen', list) -- what is no list says so before anything is removed
    redis.call('zremrangebyrank', reserved, 0, #dead - 1)
    for _, job in ipairs(dead) do
        local change, member = edit(job, 1)
        answer[#answer + 1] = job
        answer[#answer + 1] = change .. '|' .. add(reserved, until_of_dead, member or job) .. '!'
    end
    return #dead
end

local function take_of(number)
    local list, delayed, reserved, notes = unpack(KEYS, number * 4 - 3, number * 4)
    move_due(delayed, list, notes)
    local answer = {number}
    local left = most - take_dead(reserved, list, answer)
    local jobs = {}
    if left == 1 then
        local job = redis.call('lpop', list)
        jobs = {job or nil}
    elseif left > 1 then
        jobs = redis.call('lpop', list, left) or {}
    end
    if left > 0 and jobs[1] == nil then redis.call('del', notes) end -- stale: no job is there
    if answer[2] == nil and jobs[1] == nil then return nil end
    for _, job in ipairs(jobs) do
        local change, member = edit(job, 1)
        answer[#answer + 1] = job
        answer[#answer + 1] = change .. '|' .. add(reserved, until_, member or job)
    end
    return answer, #jobs
end

local answer
if most > 0 then
    local notes = {}
    for number in string.gmatch(taken_notes, '%d+') do
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
                if left == -1 then redis.call('lpop', KEYS[number * 4])
                else redis.call('lpop', KEYS[number * 4], -left) end
            end
            break
        end
        notes[number] = nil
    end
    for number, count in pairs(notes) do
        notify(KEYS[number * 4], math.min(count, redis.call('llen', KEYS[number * 4 - 3])))
    end
end
if answer then return answer end

local first
for number = 1, queues do
    for key = number * 4 - 2, number * 4 - 1 do
        local score = redis.call('zrange', KEYS[key], 0, 0, 'withscores')[2]
        if score and (not first or tonumber(score) < first) then first = tonumber(score) end
    end
end
return first and {0, string.format('%.6f', math.max(0, first - now))} or {0}
"""

# KEYS: `:reserved` of queues. ARGV: the seconds, then of each lease `queue token` and its member. Returns the numbers
# of those that others may have.
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


push = Script(COMMON + PUSH)
take = Script(ATTEMPTS + COMMON + TAKE)
renew = Script(COMMON + RENEW)
sizes = Script(COMMON + SIZES)
clear = Script(CLEAR)
held = Script(COMMON + HELD)
find = Script(FIND)
cancel = Script(COMMON + CANCEL)
