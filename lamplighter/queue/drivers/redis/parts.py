"""What the scripts of Redis are put together of: what several share, and the counting of attempts."""

# What each script begins with. Each function and each text is made anew in each call, for 0.1 µs: so what a push or a
# worker's turn needs every time stands first, and what it seldom needs is made behind the point where most calls end.
COMMON = r"""
local call = redis.call
local TOKENS = 2097152
local time = call('time')
local now = time[1] + time[2] / 1000000

local function holds(reserved, member, token)
    local score = call('zscore', reserved, member)
    return score and score % 1 == token / TOKENS
end

-- Add a member, with blanks where there is one of the same bytes; these blanks.
local function add(set, score, member)
    if call('zadd', set, 'NX', score, member) == 1 then return '' end
    local number = call('zcard', set)
    while true do
        local blanks, rest = ' ', number
        while rest > 0 do
            blanks = blanks .. string.sub(' \t\n\r', rest % 4 + 1, rest % 4 + 1)
            rest = math.floor(rest / 4)
        end
        if call('zadd', set, 'NX', score, member .. blanks) == 1 then return blanks end
        number = number + 1
    end
end

local function lease_score(seconds, token)
    return string.format('%.17g', math.ceil(now + seconds) + token / TOKENS)
end
"""

# Behind them, where a script has more to do.
SELDOM = r"""
local now_text = string.format('%.6f', now)

-- A microsecond more, so that rounding makes none early.
local function due(delay)
    return delay > 0 and string.format('%.6f', now + delay + 0.000001) or now_text
end

local function notify(list, count)
    for first = 1, count, 100 do
        local ones = {}
        for number = first, math.min(first + 99, count) do ones[#ones + 1] = '1' end
        call('rpush', list, unpack(ones))
    end
end

-- All jobs from a place on, with a note each.
local function append(list, notes, jobs, from)
    for first = from, #jobs, 100 do
        call('rpush', list, unpack(jobs, first, math.min(first + 99, #jobs)))
    end
    notify(notes, #jobs - from + 1)
end
"""

# `attempts` finds the place of the attempts in a payload: from, to, and how many; nothing where they can't be read. A
# payload without any has them written behind its last field, from > to.
ATTEMPTS = r"""
local find, match, sub = string.find, string.match, string.sub

local function attempts(text)
    local function counted(from, to)
        local digits = sub(text, from, to)
        if digits == 'null' then return from, to, 0 end
        if #digits <= 9 then return from, to, tonumber(digits) end
    end

    -- Behind the quote that ends a text; nothing where there is none.
    local function behind_text(at)
        while true do
            at = find(text, '["\\]', at)
            if not at then return nil end
            if sub(text, at, at) == '"' then return at + 1 end
            at = at + 2
        end
    end

    -- Where Laravel and we write them: the last field, or the one before `delay`. Behind a quote and a comma begins a
    -- name, and the bracket at the very end is that of the whole.
    local tail = math.max(1, #text - 80)
    local from, to = match(text, ',"attempts":()%d+()}$', tail)
    if not from then from, to = match(text, ',"attempts":()%d+(),"delay":[%w.-]+}$', tail) end
    if from then return counted(from, to - 1) end
    local at = match(text, '^%s*{()')
    if not at then return nil end
    local depth, found, last = 1, nil, nil
    while depth > 0 do
        local mark
        at, mark = match(text, '()(["{}%[%]])', at)
        if not at then return nil end
        if mark == '"' then
            local after = behind_text(at + 1)
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
    if found then return counted(found, last) end
    return at - 1, at - 2, 0
end

-- How a text with other attempts is made of it: from, to, and what stands there; then that text. 0, 0 and nothing where
-- it stays as it is.
local function edit(text, by)
    local from, to, count = attempts(text)
    if not from then return 0, 0, '', text end
    local now = string.format('%d', math.max(0, count + by))
    if from > to then
        now = '"attempts":' .. now
        if not find(sub(text, 1, to), '{%s*$') then now = ',' .. now end
    end
    return from, to, now, sub(text, 1, from - 1) .. now .. sub(text, to + 1)
end
"""
