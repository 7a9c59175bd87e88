-- digits.lua: ids and tokens, of which a group makes many. Needs base.lua.

-- What next_number() gives as four texts, to be joined with what it becomes a part of: a number of its own for each would be printed and
-- looked up before that. The last three digits are from a list, since those before them are mostly the same in one call.
local DIGITS = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}
local number_head, number_head_text
local function next_digits()
    local n = next_number()
    local rest = n % 1000
    local head, ones = (n - rest) / 1000, rest % 10
    local tens = (rest - ones) % 100
    if head ~= number_head then
        number_head, number_head_text = head, format('%013d', head)
    end
    return number_head_text, DIGITS[(rest - tens - ones) / 100 + 1], DIGITS[tens / 10 + 1], DIGITS[ones + 1]
end
