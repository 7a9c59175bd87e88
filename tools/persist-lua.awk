# persist-lua.awk: the second half of expand-lua.awk: a script, text[1] to text[lines], as what a function of Redis is made of.
#
# To call a script is to run it from its first line: a hundred functions are made anew each time, only to be swept up again, which is
# as dear as the rest of a short call. A function library runs once, when it is loaded. So what a script *defines* at its top level
# stays where it is, and what it *does* there is gathered in parts, functions of their own, which main() calls in their order:
#
#     local LIMIT = 10                       local main
#     local queue = ARGV[1]                  do
#     local seen = {}                        local KEYS, ARGV
#     local function look(id)                local parts, clears = {}, {}
#         return seen[id]                    local LIMIT = 10
#     end                            ->      local queue
#     look(queue)                            local seen
#                                            local function look(id)
#                                                return seen[id]
#                                            end
#                                            parts[#parts + 1] = function()
#                                            queue = ARGV[1]
#                                            seen = {}
#                                            look(queue)
#                                            end
#                                            clears[#clears + 1] = function() queue, seen = nil end
#                                            main = function(keys, args) … end
#                                            end
#
# So every call begins with all variables as the script's text says, whatever the call before it left or where it broke off; a
# "local" without a value is nil again, but for the names of functions that are defined later. Only constants are left alone: names
# in capitals with a literal, or a list of literals, to which nothing is ever assigned. A function that is put into a table
# ("function TABLE.name(") is done, not defined: the table is made anew. Behind a call the variables are nil, so that what it
# was given and has found is not kept until the next one. What a library cannot have while it is
# loaded (redis.call, string, …) is in the parts, since no function runs before.
#
# Statements begin in the first column and go on in indented lines, and in lines that begin with what closes a block. A "do" of its
# own is a scope, and so is the function that envelope.lua begins and commit.lua ends, since Lua allows 200 locals in one. A part has
# at most 60 variables around it; it ends before that, where a scope does, and at the script's end.
#
# Refused is what would do something else than in a script: a return that is not the last statement, a name that is declared twice at
# the top level or has itself as its value, and an assignment to a constant or to the name of a function. (A name that is used before
# it is declared is found by "make lint", which looks at the script as it was, too.)

function refuse(line, what)
{
    fail(ARGV[1], what ": " line)
}

function put(line)
{
    out[++outs] = line
}

# ---- statements ----

# Does a block begin on this line that ends on another?
function opens(line)
{
    if (line ~ /^(local )?function / || line ~ /^(if|for|while) /)
        return line !~ /[ ;]end$/
    return line ~ /[({]$/ || line ~ /function ?\([^)]*\)$/
}

# The line behind the statement that begins at i.
function statement_end(i)
{
    if (opens(text[i])) {
        for (i++; i <= lines && text[i] !~ /^(end|\}|\))/; i++)
            if (text[i] !~ /^( |else)/)
                refuse(text[i], "neither indented nor the end of what began before")
        if (i > lines)
            refuse(text[lines], "the end of a block is missing")
    }
    for (i++; i <= lines && text[i] ~ /^ /; i++)
        continue
    return i
}

function is_literal(value)
{
    return value ~ /^('[^']*'|"[^"]*"|-?[0-9][0-9.e]*|true|false)$/
}

# "a, 'b', c = 3": literals? A comma within quotes does no harm but to have it taken for none.
function are_literals(values,    list, n, i)
{
    n = split(values, list, /, /)
    for (i = 1; i <= n; i++) {
        sub(/^[a-z_]+ = /, "", list[i])
        if (!is_literal(list[i]))
            return 0
    }
    return n > 0
}

function is_constant(names, value,    list)
{
    if (names !~ /^[A-Z][A-Z0-9_]*(, [A-Z][A-Z0-9_]*)*$/)
        return 0
    if (value ~ /^\{.*\}$/)
        return names !~ /,/ && are_literals(substr(value, 2, length(value) - 2))
    return are_literals(value) && split(names, list, /, /) == split(value, list, /, /)
}

# Without what is in quotes.
function bare(line)
{
    gsub(/'([^'\\]|\\.)*'|"([^"\\]|\\.)*"/, " ", line)
    return line
}

function has_word(line, name)
{
    return match(" " line " ", "[^A-Za-z0-9_.]" name "[^A-Za-z0-9_]")
}

function declare(name)
{
    if (name in declared)
        refuse(stmt[1], "declared twice: " name)
    declared[name] = 1
}

# Is it one of its own that a later line gives another value?
function check_fixed(    i, k, n, names, list)
{
    for (i = 1; i <= lines; i++) {
        names = text[i]
        sub(/^ +/, "", names)
        if (names !~ /^[A-Za-z_][A-Za-z0-9_]*(, [A-Za-z_][A-Za-z0-9_]*)* = /)
            continue
        sub(/ = .*$/, "", names)
        n = split(names, list, /, /)
        for (k = 1; k <= n; k++)
            if (list[k] in fixed)
                refuse(text[i], "made once for all calls, and changed: " list[k])
    }
}

# ---- parts ----

# How many variables around it the statement, stmt[1] to stmt[n], has beside those of the part at hand: fresh[]. (At least: a word
# may be the name of a field, too.)
function count_fresh(n,    i, k, line, words, list, count)
{
    split("", fresh)
    count = 0
    for (i = 1; i <= n; i++) {
        line = bare(stmt[i])
        words = split(line, list, /[^A-Za-z0-9_]+/)
        for (k = 1; k <= words; k++)
            if (list[k] in declared && !(list[k] in around) && !(list[k] in fresh)) {
                fresh[list[k]] = 1
                count++
            }
    }
    return count
}

# Puts the statement stmt[1] to stmt[n] into a part.
function part_add(n,    i, k, count, returns)
{
    if (returning != "")
        refuse(returning, "a return that is not the last statement")
    for (i = 1; i <= n && returns != "function"; i++)
        if (has_word(bare(stmt[i]), "function"))
            returns = "function" # whose return it may be
        else if (has_word(bare(stmt[i]), "return"))
            returns = stmt[i]
    if (returns != "function")
        returning = returns
    count = count_fresh(n)
    if (part_lines > 0 && arounds + count > MOST_AROUND) {
        part_close()
        count = count_fresh(n)
    }
    arounds += count
    for (k in fresh)
        around[k] = 1
    for (i = 1; i <= n; i++)
        part[++part_lines] = stmt[i]
}

function part_close(    i)
{
    if (part_lines > 0) {
        put("parts[#parts + 1] = function()")
        for (i = 1; i <= part_lines; i++)
            put(part[i])
        put("end")
    }
    part_lines = arounds = 0
    split("", around)
    if (clearing != "")
        put("clears[#clears + 1] = function() " clearing " = nil end")
    clearing = ""
    cleared = 0
}

function clear_later(names, count)
{
    if (cleared + count > MOST_AROUND) {
        put("clears[#clears + 1] = function() " clearing " = nil end")
        clearing = ""
        cleared = 0
    }
    clearing = clearing (clearing == "" ? "" : ", ") names
    cleared += count
}

# ---- the whole ----

# The lines behind the first as if they were its end.
function joined(n,    i, line, all)
{
    all = ""
    for (i = 2; i <= n; i++) {
        line = stmt[i]
        sub(/^ +/, "", line)
        all = all (stmt[i - 1] ~ /,$/ ? " " : "") line
    }
    return all
}

# "local A, B = value…": declares the names where they are, and gives them their values in a part.
function take_local(n,    names, value, list, i, k, count, state)
{
    names = substr(stmt[1], 7)
    value = ""
    if (match(names, / = /)) {
        value = substr(names, RSTART + 3)
        names = substr(names, 1, RSTART - 1)
    }
    count = split(names, list, /, /)
    for (i = 1; i <= count; i++) {
        if (list[i] !~ /^[A-Za-z_][A-Za-z0-9_]*$/)
            refuse(stmt[1], "not a list of names")
        declare(list[i])
        if (!(list[i] in is_defined))
            state = state (state == "" ? "" : ", ") list[i]
        for (k = 1; k <= n; k++)
            if (value != "" && has_word(bare(k == 1 ? value : stmt[k]), list[i]) && (k == 1 || stmt[k] !~ list[i] " = "))
                refuse(stmt[k], "has itself as its value: " list[i])
    }
    if (value != "" && is_constant(names, value joined(n))) {
        for (i = 1; i <= n; i++)
            put(stmt[i])
        for (i = 1; i <= count; i++)
            fixed[list[i]] = 1
        return
    }
    put("local " names)
    if (state != "")
        clear_later(state, count)
    if (value != "")
        stmt[1] = names " = " value
    else if (state != "")
        stmt[1] = state " = nil"
    else
        return
    part_add(n)
}

# Definitions, which stay, and everything else, which is done by each call.
function take_statement(from, behind,    i, n)
{
    n = 0
    for (i = from; i < behind; i++)
        stmt[++n] = text[i]
    if (stmt[1] ~ /^(local )?function [A-Za-z0-9_]+\(/) {
        if (stmt[1] ~ /^local/) {
            declare(word(stmt[1], 16))
            fixed[word(stmt[1], 16)] = 1
        }
        for (i = 1; i <= n; i++)
            put(stmt[i])
    } else if (stmt[1] ~ /^local /) {
        take_local(n)
    } else {
        part_add(n)
    }
}

function persist(    i, behind, scopes)
{
    MOST_AROUND = 58 # Lua: LUAI_MAXUPVALUES 60
    for (i = 1; i <= lines; i++)
        if (text[i] ~ /^function [A-Za-z0-9_]+\(/)
            is_defined[word(text[i], 10)] = fixed[word(text[i], 10)] = 1
    part_lines = arounds = cleared = outs = scopes = 0
    returning = clearing = ""
    put("local main")
    put("do")
    put("local KEYS, ARGV")
    put("local parts, clears = {}, {}")
    declared["KEYS"] = declared["ARGV"] = 1
    for (i = 1; i <= lines; i = behind) {
        behind = i + 1
        if (text[i] == "do" || text[i] == "return (function()") {
            part_close()
            put(text[i] == "do" ? "do" : ";(function()")
            scopes++
        } else if (text[i] == "end" || text[i] == "end)()") {
            part_close()
            put(text[i])
            if (--scopes < 0)
                refuse(text[i], "nothing to end")
        } else {
            behind = statement_end(i)
            take_statement(i, behind)
        }
    }
    part_close()
    if (scopes != 0)
        refuse(text[lines], "the end of a scope is missing")
    check_fixed()
    put("main = function(keys, args)")
    put("KEYS, ARGV = keys, args")
    put("for i = 1, #parts - 1 do parts[i]() end")
    put("local result = parts[#parts]()")
    put("for i = 1, #clears do clears[i]() end")
    put("KEYS, ARGV = nil")
    put("return result")
    put("end")
    put("end")
    lines = outs
    for (i = 1; i <= lines; i++)
        text[i] = out[i]
}
