/*
 * regex.c: PCRE2 with limits, so that no pattern and no text makes a decision slow. See rules_int.h.
 *
 * PCRE2 counts its steps anew for each place where a match may begin, so its match limit alone leaves a long text
 * quadratic. A search therefore goes in strides of at most STRIDE places, and looks at the clock between them; the
 * longest stride is a few milliseconds.
 *
 * Patterns are bytes unless they have characters beyond ASCII; then they are UTF-8 (the texts always are).
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

#include "common/clock.h"
#include "common/mem.h"

enum {
    MATCH_LIMIT = 20000,   /* steps from one place */
    HEAP_LIMIT_KIB = 1024, /* for backtracking, without JIT */
    JIT_STACK_MAX = 256 * 1024,
    STRIDE = 128,           /* places, in a long text */
    STRIDE_BYTES = 8 << 20, /* places × length of the text */
    REPLACED_MAX = 4 << 20, /* bytes */
};

static bool is_ascii(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] >= 0x80)
            return false;
    }
    return true;
}

static void make_scratch(struct rules *rules)
{
    if (rules->context)
        return;
    rules->general = pcre2_general_context_create(NULL, NULL, NULL);
    rules->context = pcre2_match_context_create(rules->general);
    rules->data = pcre2_match_data_create(16, rules->general);
    mem_must_be(rules->general && rules->context && rules->data);
    pcre2_set_match_limit(rules->context, MATCH_LIMIT);
    pcre2_set_heap_limit(rules->context, HEAP_LIMIT_KIB);
}

int rules_regex_compile(struct rules *rules, const char *text, size_t len, bool want_jit,
                        struct rules_regex *ret, char *problem, size_t problem_size)
{
    bool is_utf = !is_ascii(text, len);
    uint32_t flags = PCRE2_USE_OFFSET_LIMIT | PCRE2_NEVER_BACKSLASH_C |
                     (is_utf ? PCRE2_UTF : PCRE2_NEVER_UTF);
    int code = 0;
    PCRE2_SIZE offset = 0;

    make_scratch(rules);
    pcre2_code *regex = pcre2_compile((PCRE2_SPTR)text, len, flags, &code, &offset, NULL);
    if (!regex) {
        PCRE2_UCHAR message[128] = "";
        pcre2_get_error_message(code, message, sizeof message);
        snprintf(problem, problem_size, "not a pattern: %s (at its character %zu)", (char *)message,
                 (size_t)offset + 1);
        return -1;
    }
    uint32_t groups = 0;
    pcre2_pattern_info(regex, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (groups >= 16) {
        snprintf(problem, problem_size, "too many groups (expected at most 15)");
        pcre2_code_free(regex);
        return -1;
    }
    ret->code = regex;
    ret->text = arena_strndup(&rules->arena, text, len);
    ret->is_utf = is_utf;
    ret->has_jit = want_jit && pcre2_jit_compile(regex, PCRE2_JIT_COMPLETE) == 0;
    if (ret->has_jit && !rules->jit_stack) {
        rules->jit_stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, rules->general);
        pcre2_jit_stack_assign(rules->context, NULL, rules->jit_stack);
    }
    return 0;
}

/* The start of the character at or before `at`. */
static size_t align(const struct rules_regex *regex, const char *text, size_t len, size_t at)
{
    while (regex->is_utf && at < len && at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

bool rules_regex_search(struct rules_input *input, const struct rules_regex *regex,
                        const char *text, size_t len)
{
    struct rules *rules = input->rules;
    size_t stride = len < STRIDE                  ? len
                    : STRIDE_BYTES / len < STRIDE ? STRIDE_BYTES / len + 1
                                                  : STRIDE;

    if (len > RULES_SUBJECT_MAX) {
        input->has_limit = true;
        return false;
    }
    for (size_t at = 0;; at += stride) {
        at = align(regex, text, len, at);
        if (rules_is_late(input))
            return false;
        pcre2_set_offset_limit(rules->context, at + stride);
        /* Texts come from JSON that was checked: they are UTF-8. */
        int n = pcre2_match(regex->code, (PCRE2_SPTR)text, len, at, PCRE2_NO_UTF_CHECK, rules->data,
                            rules->context);
        if (n >= 0) {
            const PCRE2_SIZE *span = pcre2_get_ovector_pointer(rules->data);
            /* \K may put the start behind the end. */
            input->hit.text = text + (span[0] < span[1] ? span[0] : span[1]);
            input->hit.len = span[0] < span[1] ? span[1] - span[0] : 0;
            return true;
        }
        if (n != PCRE2_ERROR_NOMATCH) {
            input->has_limit = true;
            return false;
        }
        if (stride == 0 || at + stride >= len)
            return false;
    }
}

const char *rules_regex_replace(struct rules_input *input, const struct rules_regex *regex,
                                const char *with, const char *text, size_t len, size_t *ret_len)
{
    struct rules *rules = input->rules;
    uint32_t flags = PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_EXTENDED |
                     PCRE2_SUBSTITUTE_UNSET_EMPTY | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH |
                     PCRE2_NO_UTF_CHECK;
    PCRE2_SIZE size = 2 * len + 256;

    if (!rules_regex_search(input, regex, text, len))
        return NULL;
    pcre2_set_offset_limit(rules->context, PCRE2_UNSET);
    for (int round = 0; round < 2; round++) {
        char *out = arena_alloc(input->arena, size + 1);
        int n = pcre2_substitute(regex->code, (PCRE2_SPTR)text, len, 0, flags, rules->data,
                                 rules->context, (PCRE2_SPTR)with, PCRE2_ZERO_TERMINATED,
                                 (PCRE2_UCHAR *)out, &size);
        if (n > 0) {
            *ret_len = size;
            return out;
        }
        if (n != PCRE2_ERROR_NOMEMORY || size > REPLACED_MAX)
            break;
    }
    input->has_limit = true;
    return NULL;
}
