/*
 * fuzz_shell_words.c: any bytes as a shell text. The parser must end within its limits, and what it lists must be
 * whole: texts with their lengths, places inside the text, parents in front of their children.
 */
#include "common/compat.h"
#include "common/shell/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_word(const struct shell_word *word, size_t len)
{
    cb_assert(strlen(word->text) == word->len);
    cb_assert(word->begin <= word->end && word->end <= len);
    bool has_any = shell_find_any(word->text, word->len) != NULL;
    cb_assert(!has_any || (word->flags & SHELL_UNKNOWN));
}

static void check_command(const struct shell_script *script, int i, size_t len)
{
    const struct shell_command *c = &script->commands[i];
    cb_assert(c->parent >= -1 && c->parent < i);
    cb_assert(c->begin <= c->end && c->end <= len);
    cb_assert(c->feeds_from < script->ncommands && c->feeds_to <= script->ncommands);
    cb_assert(c->feeds_from == -1 || c->feeds_from <= c->feeds_to);
    for (uint32_t w = 0; w < c->nwords; w++)
        check_word(&c->words[w], len);
    for (uint32_t w = 0; w < c->nassigns; w++)
        check_word(&c->assigns[w], len);
    for (uint32_t r = 0; r < c->nredirects; r++)
        check_word(&c->redirects[r].target, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct shell_context context = {.cwd = "/home/user/project", .home = "/home/user"};
    struct arena arena = ARENA_INIT;
    struct shell_script script;

    int status = shell_parse((const char *)data, len, &context, &arena, &script);
    cb_assert((status != 0) == (script.problem.text != NULL));
    cb_assert(script.problem.at <= len && script.ncommands <= SHELL_COMMANDS_MAX);
    for (int i = 0; i < script.ncommands; i++)
        check_command(&script, i, len);
    arena_done(&arena);
    return 0;
}
