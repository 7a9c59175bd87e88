/*
 * match.c: a rule against a call. See rules_int.h.
 *
 * A `match` is true when everything in it is. When it asks something of a command, that is asked of each command of the call in
 * turn, and what is nested in it (all, any, not) is asked of the same command.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

/* ---- strings ---- */

static bool is_in_fields(const struct rules_match *match, const struct rules_leaf *leaf)
{
    if (match->fields.n == 0)
        return true;
    for (size_t i = 0; i < match->fields.n; i++) {
        if (rules_field_matches(match->fields.at[i], leaf))
            return true;
    }
    return false;
}

static bool match_patterns(struct rules_input *input, const struct rules_match *match)
{
    for (size_t l = 0; l < input->nleaves; l++) {
        const struct rules_leaf *leaf = &input->leaves[l];
        if (!is_in_fields(match, leaf))
            continue;
        for (size_t i = 0; i < match->patterns.n; i++) {
            if (rules_regex_search(input, &match->patterns.at[i], leaf->text, leaf->len)) {
                input->hit.leaf = leaf;
                return true;
            }
        }
    }
    return false;
}

/* ---- paths in the input ---- */

static bool match_path(struct rules_input *input, const struct rules_strings *globs,
                       const char *path, bool is_glob)
{
    for (size_t i = 0; i < globs->n; i++) {
        if (rules_path_glob(globs->at[i], path, is_glob, input->call->home))
            return true;
    }
    return false;
}

static bool match_leaf_paths(struct rules_input *input, const struct rules_strings *globs,
                             unsigned roles)
{
    bool is_read_only = (input->tool_kind & RULES_TOOL_READ) != 0;

    if (is_read_only && !(roles & (RULES_READS | RULES_NAMES)))
        return false;
    for (size_t i = 0; i < input->nleaves; i++) {
        const struct rules_leaf *leaf = &input->leaves[i];
        if (!leaf->path)
            continue;
        const char *resolved = NULL;
        bool is_match = match_path(input, globs, leaf->path, false);
        if (!is_match && input->call->resolve_links) {
            input->has_looked = true;
            resolved = rules_resolve_path(input->arena, leaf->path);
            is_match = resolved && match_path(input, globs, resolved, false);
        }
        if (is_match) {
            input->hit = (struct rules_hit){
                .leaf = leaf, .command = -1, .text = leaf->text, .len = leaf->len};
            return true;
        }
    }
    return false;
}

bool rules_match_targets(struct rules_input *input, const struct rules_strings *globs,
                         unsigned roles, struct rules_script *script, int command)
{
    for (const struct rules_target *t = rules_targets(input, script, command); t; t = t->next) {
        if ((t->roles & roles) && match_path(input, globs, t->path, t->is_glob))
            return true;
    }
    return false;
}

/* writes, reads: of the tool itself, or of a command. Without a command at hand, of any. */
static bool match_role(struct rules_input *input, const struct rules_strings *globs, unsigned role,
                       struct rules_script *script, int command)
{
    if (script)
        return rules_match_targets(input, globs, role, script, command);
    if (match_leaf_paths(input, globs, role))
        return true;
    for (struct rules_script *s = input->scripts; s; s = s->next) {
        for (int i = 0; i < s->shell.ncommands; i++) {
            if (i % 64 == 63 && rules_is_late(input))
                return false;
            if (rules_match_targets(input, globs, role, s, i)) {
                input->hit = (struct rules_hit){.leaf = s->leaf, .script = s, .command = i};
                return true;
            }
        }
    }
    return false;
}

/* ---- nodes ---- */

static bool match_node(struct rules_input *input, const struct rules_match *match,
                       struct rules_script *script, int command);

static bool match_children(struct rules_input *input, const struct rules_match *match,
                           struct rules_script *script, int command)
{
    for (const struct rules_match *m = match->all; m; m = m->next) {
        if (!match_node(input, m, script, command))
            return false;
    }
    bool is_any = match->any == NULL;
    for (const struct rules_match *m = match->any; m && !is_any; m = m->next)
        is_any = match_node(input, m, script, command);
    if (!is_any)
        return false;
    struct rules_hit hit = input->hit;
    for (const struct rules_match *m = match->none; m; m = m->next) {
        if (match_node(input, m, script, command))
            return false;
        input->hit = hit;
    }
    return true;
}

static bool match_here(struct rules_input *input, const struct rules_match *match,
                       struct rules_script *script, int command)
{
    if (match->files.n && !match_leaf_paths(input, &match->files, RULES_NAMES))
        return false;
    if (match->writes.n && !match_role(input, &match->writes, RULES_WRITES, script, command))
        return false;
    if (match->reads.n && !match_role(input, &match->reads, RULES_READS, script, command))
        return false;
    if (match->patterns.n && !match_patterns(input, match))
        return false;
    return match_children(input, match, script, command);
}

static bool match_one(struct rules_input *input, const struct rules_match *match,
                      struct rules_script *script, int command)
{
    if (!rules_match_command(input, &match->command, script, command))
        return false;
    struct rules_hit hit = {.leaf = script->leaf, .script = script, .command = command};
    input->hit = hit;
    if (!match_here(input, match, script, command))
        return false;
    /* What a pattern found is more to the point than the command. */
    if (!input->hit.text)
        input->hit = hit;
    return true;
}

/* One node; with a script for one command of it. */
static bool match_node(struct rules_input *input, const struct rules_match *match,
                       struct rules_script *script, int command)
{
    if (!match->has_command)
        return match_here(input, match, script, command);
    if (script)
        return match_one(input, match, script, command);
    for (struct rules_script *s = input->scripts; s; s = s->next) {
        for (int i = 0; i < s->shell.ncommands; i++) {
            if (match_one(input, match, s, i))
                return true;
            /* The clock costs more than most commands do. */
            if (i % 64 == 63 && rules_is_late(input))
                return false;
        }
    }
    return false;
}

bool rules_applies(const struct rules_input *input, const struct rule *rule)
{
    const char *tool = input->call->tool ? input->call->tool : "";
    if (rule->is_disabled || !(rule->events & input->call->event))
        return false;
    if (rule->tools.n == 0)
        return true;
    for (size_t i = 0; i < rule->tools.n; i++) {
        if (rules_tool_matches(rule->tools.at[i], tool))
            return true;
    }
    return false;
}

bool rules_match(struct rules_input *input, const struct rule *rule)
{
    input->hit = (struct rules_hit){.command = -1};
    if (!rules_applies(input, rule))
        return false;
    bool is_match = match_node(input, rule->match, NULL, -1);
    if (!is_match && input->is_partial)
        input->has_limit = true;
    return is_match;
}
