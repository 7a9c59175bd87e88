/*
 * input.c: one call, taken apart: the strings in its input, the commands in those that are shell, the files that they
 * name. See rules_int.h. Everything is in the caller's arena.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

#include "common/clock.h"

enum {
    LEAVES_MAX = 1 << 16,
    POINTER_MAX = 512,
    ARGV_MAX = 4096,
};

static const char *const COMMAND_NAMES[] = {"command", "cmd",          "script",        "commands",
                                            "cmdline", "command_line", "shell_command", "bash"};
static const char *const PATH_NAMES[] = {"file_path",     "path",
                                         "notebook_path", "file",
                                         "filename",      "filePath",
                                         "absolute_path", "target_file",
                                         "paths",         "source_path",
                                         "destination",   "source",
                                         "uri",           "directory",
                                         "dir_path",      "file_paths",
                                         "files",         "old_path",
                                         "new_path",      "dest",
                                         "targetFile",    "relative_workspace_path"};

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* ---- strings ---- */

struct walk {
    struct rules_input *input;
    char pointer[POINTER_MAX];
    unsigned depth;
};

static const char *decode(struct arena *arena, struct json_span literal, size_t *ret_len)
{
    if (!memchr(literal.at, '\\', literal.len)) {
        *ret_len = literal.len - 2;
        return literal.at + 1;
    }
    struct buf text = BUF_INIT;
    json_decode_string(literal, &text);
    const char *out = arena_strndup(arena, buf_peek(&text), text.len);
    *ret_len = text.len;
    buf_done(&text);
    return out;
}

static void add_leaf(struct rules_input *input, const char *pointer, const char *name,
                     struct json_span literal)
{
    if (input->nleaves == LEAVES_MAX) {
        input->is_partial = true;
        return;
    }
    if (input->nleaves == input->leaves_cap) {
        size_t cap = input->leaves_cap ? 2 * input->leaves_cap : 8;
        struct rules_leaf *more = arena_alloc(input->arena, cap * sizeof *more);
        if (input->nleaves)
            memcpy(more, input->leaves, input->nleaves * sizeof *more);
        input->leaves = more;
        input->leaves_cap = cap;
    }
    struct rules_leaf *leaf = &input->leaves[input->nleaves++];
    leaf->pointer = arena_strndup(input->arena, pointer, strlen(pointer));
    leaf->name = name;
    leaf->literal = literal;
    leaf->text = decode(input->arena, literal, &leaf->len);
}

/* Appends "/key" to the pointer at `at`, as RFC 6901 wants it; what is too long is cut. */
static size_t push(struct walk *w, size_t at, const char *key, size_t len)
{
    size_t n = at;
    if (n + 1 < POINTER_MAX)
        w->pointer[n++] = '/';
    for (size_t i = 0; i < len && n + 2 < POINTER_MAX; i++) {
        if (key[i] == '~' || key[i] == '/') {
            w->pointer[n++] = '~';
            w->pointer[n++] = key[i] == '~' ? '0' : '1';
        } else {
            w->pointer[n++] = key[i];
        }
    }
    w->pointer[n] = '\0';
    return n;
}

static void walk_value(struct walk *w, struct json_span value, enum json_type type, size_t at,
                       const char *name)
{
    struct json_iter it;
    struct json_item item;
    size_t index = 0;

    if (type == JSON_STRING) {
        add_leaf(w->input, w->pointer, name, value);
        return;
    }
    if (type != JSON_OBJECT && type != JSON_ARRAY)
        return;
    /* json_check() has bounded the depth. */
    for (json_iter_init(&it, value); json_iter_next(&it, &item); index++) {
        char number[24];
        size_t len = 0;
        const char *key = number, *inner = name;
        if (type == JSON_OBJECT) {
            key = decode(w->input->arena, item.key, &len);
            inner = arena_strndup(w->input->arena, key, len);
        } else {
            len = (size_t)snprintf(number, sizeof number, "%zu", index);
        }
        size_t end = push(w, at, key, len);
        walk_value(w, item.value, item.type, end, inner);
        w->pointer[at] = '\0';
    }
}

bool rules_field_matches(const char *field, const struct rules_leaf *leaf)
{
    if (field[0] != '/')
        return strcmp(field, leaf->name) == 0;
    const char *p = field, *at = leaf->pointer;
    while (*p == '/' && *at == '/') {
        size_t want = strcspn(p + 1, "/"), have = strcspn(at + 1, "/");
        bool is_any = want == 1 && p[1] == '*';
        if (!is_any && (want != have || memcmp(p + 1, at + 1, want) != 0))
            return false;
        p += 1 + want;
        at += 1 + have;
    }
    return *p == '\0' && *at == '\0';
}

/* ---- commands ---- */

static struct rules_script *add_script(struct rules_input *input, const struct rules_leaf *leaf)
{
    struct rules_script *script = arena_alloc(input->arena, sizeof *script),
                        **tail = &input->scripts;
    while (*tail)
        tail = &(*tail)->next;
    *tail = script;
    script->leaf = leaf;
    return script;
}

static void finish_script(struct rules_input *input, struct rules_script *script)
{
    size_t n = (size_t)script->shell.ncommands;
    script->targets = arena_alloc(input->arena, (n + 1) * sizeof(void *));
    script->has_targets = arena_alloc(input->arena, (n + 1) * sizeof *script->has_targets);
}

/* ["bash", "-lc", "…"]: the leaves from `first` on that belong to the same list. Returns how many. */
static size_t parse_list(struct rules_input *input, const struct shell_context *context,
                         size_t first)
{
    const struct rules_leaf *leaf = &input->leaves[first];
    size_t stem = (size_t)(strrchr(leaf->pointer, '/') - leaf->pointer), n = 1;

    while (first + n < input->nleaves && n < ARGV_MAX &&
           strncmp(input->leaves[first + n].pointer, leaf->pointer, stem + 1) == 0)
        n++;
    struct shell_word *words = arena_alloc(input->arena, n * sizeof *words);
    for (size_t i = 0; i < n; i++) {
        const struct rules_leaf *l = &input->leaves[first + i];
        words[i].text = arena_strndup(input->arena, l->text, l->len);
        words[i].len = (uint32_t)strlen(words[i].text);
    }
    struct rules_script *script = add_script(input, leaf);
    shell_parse_argv(words, n, context, input->arena, &script->shell);
    finish_script(input, script);
    return n;
}

static bool is_element(const struct rules_leaf *leaf)
{
    const char *slash = strrchr(leaf->pointer, '/');
    return slash && strcmp(slash + 1, leaf->name) != 0;
}

/* "input" is what an input that is no object becomes: of a shell it is the command. */
static bool is_command(const struct rules_input *input, const struct rules_leaf *leaf)
{
    return is_one_of(leaf->name, COMMAND_NAMES, CB_ARRAY_LEN(COMMAND_NAMES)) ||
           (input->tool_kind & RULES_TOOL_SHELL && strcmp(leaf->name, "input") == 0);
}

static void parse_commands(struct rules_input *input)
{
    struct shell_context context = {.cwd = input->call->cwd, .home = input->call->home};
    unsigned not_shell = RULES_TOOL_EDIT | RULES_TOOL_READ | RULES_TOOL_FOREIGN_SHELL;

    if (input->tool_kind & not_shell || input->call->event == RULES_USER_PROMPT)
        return;
    for (size_t i = 0; i < input->nleaves; i++) {
        const struct rules_leaf *leaf = &input->leaves[i];
        if (!is_command(input, leaf))
            continue;
        if (is_element(leaf) && strcmp(leaf->name, "commands") != 0) {
            i += parse_list(input, &context, i) - 1;
            continue;
        }
        struct rules_script *script = add_script(input, leaf);
        shell_parse(leaf->text, leaf->len, &context, input->arena, &script->shell);
        finish_script(input, script);
    }
}

const struct rules_script *rules_input_problem(const struct rules_input *input)
{
    for (const struct rules_script *s = input->scripts; s; s = s->next) {
        if (s->shell.problem.text && (input->tool_kind & RULES_TOOL_SHELL))
            return s;
    }
    return NULL;
}

/* ---- paths ---- */

/* It is a patch, or a command line with one in a here-document: apply_patch <<E. */
static bool has_patch(const struct rules_leaf *leaf)
{
    static const char mark[] = "*** Begin Patch";
    size_t n = sizeof mark - 1;

    if (leaf->len < n)
        return false;
    return memcmp(leaf->text, mark, n) == 0 ||
           (is_one_of(leaf->name, COMMAND_NAMES, CB_ARRAY_LEN(COMMAND_NAMES)) &&
            memmem(leaf->text, leaf->len, "\n*** Begin Patch", n + 1) != NULL);
}

/* The files in the text of a patch, "*** Update File: x", each as a leaf of its own. */
static void add_patched(struct rules_input *input, size_t from)
{
    static const char *const marks[] = {
        "*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "};
    const struct rules_leaf leaf = input->leaves[from];
    const char *end = leaf.text + leaf.len;

    if (!has_patch(&leaf))
        return;
    for (const char *line = leaf.text, *next; line < end; line = next) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((newline ? newline : end) - line);
        next = newline ? newline + 1 : end;
        for (size_t i = 0; i < CB_ARRAY_LEN(marks); i++) {
            size_t n = strlen(marks[i]);
            if (len <= n || memcmp(line, marks[i], n) != 0)
                continue;
            add_leaf(input, leaf.pointer, "file_path", leaf.literal);
            struct rules_leaf *last = &input->leaves[input->nleaves - 1];
            last->text = line + n;
            last->len = len - n;
        }
    }
}

static void find_paths(struct rules_input *input)
{
    size_t n = input->nleaves;
    for (size_t i = 0; i < n; i++)
        add_patched(input, i);
    for (size_t i = 0; i < input->nleaves; i++) {
        struct rules_leaf *leaf = &input->leaves[i];
        if (leaf->len < PATH_MAX && is_one_of(leaf->name, PATH_NAMES, CB_ARRAY_LEN(PATH_NAMES)))
            leaf->path = rules_normalise_path(input->arena, leaf->text, leaf->len, input->call->cwd,
                                              input->call->home);
    }
}

/* ---- the call ---- */

bool rules_is_late(struct rules_input *input)
{
    if (!input->is_late && clock_mono_us() > input->deadline_us)
        input->is_late = true;
    if (input->is_late)
        input->has_limit = true;
    return input->is_late;
}

int rules_input_init(struct rules_input *input, struct rules *rules, const struct rules_call *call,
                     struct json_span json, struct arena *arena, int64_t deadline_us)
{
    struct walk walk = {.input = input};
    enum json_type type = JSON_NULL;
    struct json_span value;

    *input = (struct rules_input){.rules = rules,
                                  .call = call,
                                  .arena = arena,
                                  .deadline_us = deadline_us,
                                  .hit = {.command = -1}};
    if (json_check(json.at, json.len, &value, &type, NULL) || type != JSON_OBJECT)
        return -1;
    input->json = value;
    input->tool_kind = rules_tool_kind(call->tool ? call->tool : "");
    walk_value(&walk, value, type, 0, "");
    find_paths(input);
    parse_commands(input);
    return 0;
}
