/*
 * rewrite.c: what a rule of action modify makes of the input. See rules_int.h.
 *
 * The input stays the JSON text that it was: only the string (or member) in question is replaced, so everything else
 * reaches the tool as the agent wrote it.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

/* The input with `literal` (which lies in it) replaced. */
static struct json_span put_in(struct rules_input *input, struct json_span literal,
                               const char *text, size_t len)
{
    struct buf out = BUF_INIT;
    size_t before = (size_t)(literal.at - input->json.at);

    buf_append(&out, input->json.at, before);
    json_put_string(&out, text, len);
    buf_append(&out, literal.at + literal.len, input->json.len - before - literal.len);
    struct json_span json = {arena_strndup(input->arena, out.data, out.len), out.len};
    buf_done(&out);
    return json;
}

/* ---- substitute ---- */

static bool is_in_fields(const struct rules_replacement *r, const struct rules_leaf *leaf)
{
    for (size_t i = 0; i < r->fields.n; i++) {
        if (rules_field_matches(r->fields.at[i], leaf))
            return true;
    }
    return r->fields.n == 0;
}

/* The first string that changes; the rule is tried again after that. */
static enum rules_rewritten substitute(struct rules_input *input, const struct rules_replacement *r,
                                       struct json_span *ret_json)
{
    for (size_t i = 0; i < input->nleaves; i++) {
        const struct rules_leaf *leaf = &input->leaves[i];
        size_t len = 0;
        if (!is_in_fields(r, leaf))
            continue;
        const char *text = rules_regex_replace(input, &r->regex, r->with, leaf->text, leaf->len,
                                               &len);
        if (input->has_limit)
            return RULES_CANNOT;
        if (text && (len != leaf->len || memcmp(text, leaf->text, len) != 0)) {
            *ret_json = put_in(input, leaf->literal, text, len);
            return RULES_CHANGED;
        }
    }
    return RULES_UNCHANGED;
}

/* ---- unwrap ---- */

/* Where what a wrapper runs begins: its first word, or the NAME=value in front of that. */
static uint32_t inner_begin(const struct shell_command *outer, const struct shell_command *inner)
{
    uint32_t begin = inner->words[0].begin;
    for (uint32_t i = outer->nwords; i-- > 1;) {
        const struct shell_word *word = &outer->words[i];
        if (word->begin >= begin)
            continue;
        if (word->text[0] == '-' || !strchr(word->text, '=') || word->begin == word->end)
            break;
        begin = word->begin;
    }
    return begin;
}

static const struct shell_command *inner_of(const struct shell_script *shell, int command)
{
    const struct shell_command *outer = &shell->commands[command];
    if (outer->begin == outer->end || command + 1 >= shell->ncommands)
        return NULL;
    const struct shell_command *inner = &shell->commands[command + 1];
    bool is_written = inner->parent == command && inner->begin < inner->end &&
                      inner->begin > outer->words[0].begin;
    return is_written ? inner : NULL;
}

/* Drops the wrapper of the command that matched: `sudo -u x A=1 cmd` becomes `A=1 cmd`. */
static enum rules_rewritten unwrap(struct rules_input *input, struct json_span *ret_json)
{
    const struct rules_hit *hit = &input->hit;
    if (!hit->script || hit->command < 0)
        return RULES_CANNOT;
    const struct shell_command *outer = &hit->script->shell.commands[hit->command];
    const struct shell_command *inner = inner_of(&hit->script->shell, hit->command);
    if (!inner)
        return RULES_CANNOT;
    uint32_t from = outer->words[0].begin, to = inner_begin(outer, inner);
    const struct rules_leaf *leaf = hit->script->leaf;
    struct buf text = BUF_INIT;
    buf_append(&text, leaf->text, from);
    buf_append(&text, leaf->text + to, leaf->len - to);
    *ret_json = put_in(input, leaf->literal, buf_peek(&text), text.len);
    buf_done(&text);
    return RULES_CHANGED;
}

/* ---- set ---- */

static enum rules_rewritten set_member(struct rules_input *input, const struct rules_replacement *r,
                                       struct json_span *ret_json)
{
    struct json_item item;
    struct buf out = BUF_INIT;
    bool is_there = json_find(input->json, r->field, &item);
    size_t len = strlen(r->value);

    if (is_there && item.value.len == len && memcmp(item.value.at, r->value, len) == 0)
        return RULES_UNCHANGED;
    if (is_there) {
        size_t before = (size_t)(item.value.at - input->json.at);
        buf_append(&out, input->json.at, before);
        buf_puts(&out, r->value);
        buf_append(&out, item.value.at + item.value.len, input->json.len - before - item.value.len);
    } else {
        buf_append(&out, input->json.at, input->json.len - 1);
        if (json_count(input->json) == 0)
            buf_consume(&out, out.len - 1);
        json_put_key(&out, r->field);
        buf_puts(&out, r->value);
        buf_putc(&out, '}');
    }
    *ret_json = (struct json_span){arena_strndup(input->arena, out.data, out.len), out.len};
    buf_done(&out);
    return RULES_CHANGED;
}

enum rules_rewritten rules_rewrite(struct rules_input *input, const struct rule *rule,
                                   struct json_span *ret_json)
{
    const struct rules_replacement *r = rule->replacement;
    switch (r->kind) {
    case RULES_SUBSTITUTE:
        return substitute(input, r, ret_json);
    case RULES_UNWRAP:
        return unwrap(input, ret_json);
    case RULES_SET:
        return set_member(input, r, ret_json);
    }
    return RULES_CANNOT;
}
