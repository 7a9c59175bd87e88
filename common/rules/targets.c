/*
 * targets.c: the files that a command names, and whether it reads or writes them, by the rows of targets.def. See
 * rules_int.h.
 *
 * A word counts as a file when it may be one: an operand, the part behind = (of=/dev/sda, --output=x), behind @
 * (curl -d @x), or right behind a short option (-C/etc). Whether there is such a file is not looked at.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

enum kind { KIND_NONE, KIND_NAMES, KIND_READS, KIND_WRITES, KIND_LAST, KIND_MOVES, KIND_IN_PLACE };

struct row {
    const char *name;
    enum kind kind;
    unsigned skip;
    const char *values;
    const char *outputs;
};

static const struct row ROWS[] = {
#define RULES_TARGETS(name, kind, skip, values, outputs) {name, KIND_##kind, skip, values, outputs},
#include "common/rules/targets.def"
#undef RULES_TARGETS
};

static const struct row OTHERS = {"", KIND_READS, 0, "", ""};

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(ROWS); i++) {
        if (ROWS[i].name[0] == name[0] && rules_glob(ROWS[i].name, name, strlen(name)))
            return &ROWS[i];
    }
    return &OTHERS;
}

/* ---- adding ---- */

struct collector {
    struct rules_input *input;
    const struct shell_command *command;
    struct rules_target **tail;
};

static void add_path(struct collector *c, const char *path, const struct shell_word *word,
                     unsigned roles)
{
    struct rules_target *target = arena_alloc(c->input->arena, sizeof *target);
    target->path = path;
    target->roles = roles;
    target->is_glob = (word->flags & SHELL_GLOB) != 0;
    target->word = word;
    *c->tail = target;
    c->tail = &target->next;
}

/* The text with every SHELL_ANY replaced; `at` is the first. */
static const char *fill_in(struct arena *arena, const char *text, size_t len, const char *with,
                           size_t *ret_len)
{
    char *out = arena_alloc(arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != SHELL_ANY)
            out[n++] = text[i];
        else if (*with)
            out[n++] = *with;
    }
    *ret_len = n;
    return out;
}

static void add_text(struct collector *c, const char *text, size_t len,
                     const struct shell_word *word, unsigned roles)
{
    struct rules_input *input = c->input;
    const char *home = input->call->home, *cwd = c->command->cwd;
    const char *any = shell_find_any(text, len);
    size_t n = 0;

    if (len == 0 || len >= PATH_MAX || memchr(text, '\n', len))
        return;
    if (any) {
        /* What is not known is taken to be nothing or some ordinary name; at the start, only the latter. */
        const char *named = fill_in(input->arena, text, len, "\x01", &n);
        add_path(c, rules_normalise_path(input->arena, named, n, cwd, home), word, roles);
        if (any == text)
            return;
        text = fill_in(input->arena, text, len, "", &len);
    }
    const char *path = rules_normalise_path(input->arena, text, len, cwd, home);
    add_path(c, path, word, roles);
    if (input->call->resolve_links && !any) {
        const char *resolved = rules_resolve_path(input->arena, path);
        input->has_looked = true;
        if (resolved)
            add_path(c, resolved, word, roles);
    }
}

/* A word, and the part of it that may be a file. */
static void add_word(struct collector *c, const struct shell_word *word, unsigned roles)
{
    const char *text = word->text;
    const char *equals = strchr(text, '=');

    if (text[0] == '-' && text[1] != '-' && word->len > 2 && strchr("/~", text[2]))
        add_text(c, text + 2, word->len - 2, word, roles);
    else if (text[0] != '-')
        add_text(c, text, word->len, word, roles);
    if (text[0] == '@')
        add_text(c, text + 1, word->len - 1, word, roles);
    if (equals && equals[1]) {
        equals += equals[1] == '@';
        add_text(c, equals + 1, strlen(equals + 1), word, roles);
    }
}

/* ---- one command ---- */

static bool is_option(const struct shell_word *word)
{
    return word->text[0] == '-' && word->len > 1;
}

static bool has_long(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = strchr(list, ' '); at; at = strchr(at + 1, ' ')) {
        if (strncmp(at + 1, name, len) == 0 && at[1 + len] == ' ')
            return true;
    }
    return false;
}

/* What the word behind this option is: 'v' a value, 'o' a file that is written, 0 nothing of it. */
static char value_kind(const struct row *row, const struct shell_word *option)
{
    const char *text = option->text;
    if (text[1] == '-')
        return has_long(row->outputs, text + 2) ? 'o' : 0;
    if (has_long(row->outputs, text + 1))
        return 'o';
    for (const char *at = text + 1; *at; at++) {
        if (at[1] == '\0' && strchr(row->values, *at))
            return 'v';
        if (at[1] == '\0' && *at != ' ' && memchr(row->outputs, *at, strcspn(row->outputs, " ")))
            return 'o';
    }
    return 0;
}

static bool has_in_place(const struct shell_command *c)
{
    for (uint32_t i = 1; i < c->nwords; i++) {
        const char *text = c->words[i].text;
        if (strncmp(text, "--in-place", 10) == 0)
            return true;
        if (text[0] == '-' && text[1] != '-' && strchr(text, 'i'))
            return true;
    }
    return false;
}

/* grep -e x, sed -f x: the pattern is no operand then. */
static unsigned skip_of(const struct row *row, const struct shell_command *c)
{
    bool has_option = strchr(row->values, 'e') != NULL;
    for (uint32_t i = 1; i < c->nwords && has_option; i++) {
        const char *text = c->words[i].text;
        if (text[0] == '-' && text[1] != '-' && strpbrk(text, "ef"))
            return 0;
    }
    return row->skip;
}

static unsigned role_of(const struct row *row, bool is_in_place, bool is_last, bool is_only)
{
    switch (row->kind) {
    case KIND_NONE:
    case KIND_NAMES:
        return RULES_NAMES;
    case KIND_WRITES:
        return RULES_NAMES | RULES_WRITES;
    case KIND_MOVES:
        return RULES_NAMES | RULES_WRITES | (is_last && !is_only ? 0u : RULES_READS);
    case KIND_LAST:
        return RULES_NAMES | (is_last ? RULES_WRITES : 0u) |
               (is_last && !is_only ? 0u : RULES_READS);
    case KIND_IN_PLACE:
        return RULES_NAMES | RULES_READS | (is_in_place ? RULES_WRITES : 0u);
    case KIND_READS:
    default:
        return RULES_NAMES | RULES_READS;
    }
}

static uint32_t last_operand(const struct row *row, const struct shell_command *c,
                             unsigned *ret_count)
{
    uint32_t last = 0;
    for (uint32_t i = 1; i < c->nwords; i++) {
        if (!is_option(&c->words[i])) {
            last = i;
            ++*ret_count;
        } else if (value_kind(row, &c->words[i])) {
            i++;
        }
    }
    return last;
}

static void collect_words(struct collector *c, const struct row *row)
{
    const struct shell_command *cmd = c->command;
    bool is_in_place = row->kind == KIND_IN_PLACE && has_in_place(cmd);
    unsigned noperands = 0;
    uint32_t last = last_operand(row, cmd, &noperands);
    unsigned skip = skip_of(row, cmd);

    for (uint32_t i = 1; i < cmd->nwords && row->kind != KIND_NONE; i++) {
        const struct shell_word *word = &cmd->words[i];
        if (!is_option(word)) {
            if (skip)
                skip--;
            else
                add_word(c, word, role_of(row, is_in_place, i == last, noperands == 1));
            continue;
        }
        char kind = value_kind(row, word);
        const char *equals = strchr(word->text, '=');
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word->text + 1, "="), word->text + 1);
        bool is_output = equals && name[0] == '-' && has_long(row->outputs, name + 1);
        add_word(c, word, is_output ? RULES_NAMES | RULES_WRITES : RULES_NAMES | RULES_READS);
        if (kind && i + 1 < cmd->nwords) {
            i++;
            if (kind == 'o')
                add_word(c, &cmd->words[i], RULES_NAMES | RULES_WRITES);
        }
    }
}

/* dd if=x of=y */
static void collect_dd(struct collector *c)
{
    for (uint32_t i = 1; i < c->command->nwords; i++) {
        const struct shell_word *word = &c->command->words[i];
        bool is_output = strncmp(word->text, "of=", 3) == 0;
        if (is_output || strncmp(word->text, "if=", 3) == 0)
            add_text(c, word->text + 3, word->len - 3, word,
                     RULES_NAMES | (is_output ? RULES_WRITES : RULES_READS));
    }
}

/* git rm x, git mv x y, git restore x, git checkout … -- x: files of the work tree. What a commit or a branch changes is not
 * known here. */
static void collect_git(struct collector *c)
{
    const struct shell_command *cmd = c->command;
    uint32_t i = 1;

    while (i < cmd->nwords && is_option(&cmd->words[i]))
        i += strcmp(cmd->words[i].text, "-C") == 0 || strcmp(cmd->words[i].text, "-c") == 0 ? 2 : 1;
    if (i >= cmd->nwords)
        return;
    const char *verb = cmd->words[i++].text;
    bool is_checkout = strcmp(verb, "checkout") == 0;
    if (!is_checkout && strcmp(verb, "rm") != 0 && strcmp(verb, "mv") != 0 &&
        strcmp(verb, "restore") != 0)
        return;
    while (is_checkout && i < cmd->nwords && strcmp(cmd->words[i].text, "--") != 0)
        i++;
    for (; i < cmd->nwords; i++) {
        if (!is_option(&cmd->words[i]))
            add_word(c, &cmd->words[i], RULES_NAMES | RULES_WRITES);
    }
}

static void collect_redirects(struct collector *c)
{
    static const unsigned roles[] = {
        [SHELL_READ] = RULES_READS,    [SHELL_WRITE] = RULES_WRITES,
        [SHELL_APPEND] = RULES_WRITES, [SHELL_READWRITE] = RULES_READS | RULES_WRITES,
        [SHELL_DUPLICATE] = 0,         [SHELL_HERE] = 0,
    };
    for (uint32_t i = 0; i < c->command->nredirects; i++) {
        const struct shell_redirect *r = &c->command->redirects[i];
        if (roles[r->kind] && !(r->target.flags & SHELL_PROCESS))
            add_text(c, r->target.text, r->target.len, &r->target, RULES_NAMES | roles[r->kind]);
    }
}

const struct rules_target *rules_targets(struct rules_input *input, struct rules_script *script,
                                         int command)
{
    if (script->has_targets[command])
        return script->targets[command];
    struct collector c = {
        .input = input,
        .command = &script->shell.commands[command],
        .tail = &script->targets[command],
    };
    const char *name = shell_command_name(c.command);
    script->has_targets[command] = true;
    if (strcmp(name, "dd") == 0 || strcmp(name, "dcfldd") == 0)
        collect_dd(&c);
    else if (strcmp(name, "git") == 0)
        collect_git(&c);
    else if (c.command->nwords)
        collect_words(&c, find_row(name));
    collect_redirects(&c);
    return script->targets[command];
}
