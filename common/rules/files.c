/*
 * files.c: the files of a rule set, its version and its end. See rules.h.
 */
#include "common/compat.h"
#include "common/rules/load_int.h"

#include "common/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <sha2.h>
#include <sys/stat.h>

/* Raised when the same files mean something else: cached decisions of the older engine are no longer used. */
#define ENGINE_VERSION "rules-1 " PACKAGE_VERSION

struct builder {
    struct loader loader;
    SHA2_CTX sha;
};

/* ---- what has changed ---- */

static void remember(struct rules *rules, const char *path, const struct stat *st)
{
    struct rules_file *file = arena_alloc(&rules->arena, sizeof *file);
    file->path = arena_strndup(&rules->arena, path, strlen(path));
    file->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    file->size = (int64_t)st->st_size;
    file->inode = (uint64_t)st->st_ino;
    file->next = rules->files;
    rules->files = file;
}

bool rules_have_changed(const struct rules *rules)
{
    for (const struct rules_file *f = rules->files; f; f = f->next) {
        struct stat st;
        if (stat(f->path, &st) != 0 || (uint64_t)st.st_ino != f->inode ||
            (int64_t)st.st_size != f->size ||
            (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec != f->mtime_ns)
            return true;
    }
    return false;
}

int64_t rules_written_ms(const struct rules *rules)
{
    int64_t newest = 0;

    for (const struct rules_file *f = rules->files; f; f = f->next) {
        struct stat st;
        if (stat(f->path, &st) != 0)
            continue;
        int64_t at = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        newest = at > newest ? at : newest;
    }
    return newest;
}

/* ---- reading ---- */

static void complain(struct builder *b, const char *path, const char *text)
{
    options_errors_add(b->loader.errs, path, 0, 0, "", "%s", text);
}

static void hash(SHA2_CTX *sha, const char *text, size_t len)
{
    uint64_t size = len;
    SHA256Update(sha, (const uint8_t *)&size, sizeof size);
    SHA256Update(sha, (const uint8_t *)text, len);
}

/* What a write that has only begun leaves, or one for which the disk was full: not the wish to have no rules. */
static bool is_empty(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n", text[i]) || text[i] == '\0')
            return false;
    return true;
}

static void add_text(struct builder *b, const char *name, const char *text, size_t len,
                     bool is_project)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    if (!b->loader.options->is_for_one) { /* a fifth of what loading costs */
        hash(&b->sha, base, strlen(base));
        hash(&b->sha, text, len);
        hash(&b->sha, is_project ? "project" : "system", is_project ? 7 : 6);
    }
    b->loader.file = arena_strndup(&b->loader.rules->arena, name, strlen(name));
    b->loader.is_project = is_project;
    if (is_empty(text, len)) {
        complain(b, name, "the file is empty (expected groups or disable)");
        return;
    }
    load_file(&b->loader, text, len);
}

/* A file that everybody may write is a rule set that everybody may switch off. */
static bool may_be_used(struct builder *b, const char *path, const struct stat *st, bool is_project)
{
    if (!is_project && (st->st_mode & S_IWOTH) &&
        !(S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX))) {
        complain(b, path, "everybody may write to it (expected chmod o-w)");
        return false;
    }
    return true;
}

static int read_all(int fd, struct buf *out)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 16384), 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        if (out->len > RULES_FILE_MAX) {
            errno = EFBIG;
            return -1;
        }
    }
}

static void add_file(struct builder *b, const char *path, bool is_project)
{
    struct buf text = BUF_INIT;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0) {
        options_errors_add(b->loader.errs, path, 0, 0, "", "cannot be read: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        complain(b, path, "not a file");
    } else if (may_be_used(b, path, &st, is_project)) {
        remember(b->loader.rules, path, &st);
        if (read_all(fd, &text))
            options_errors_add(b->loader.errs, path, 0, 0, "", "cannot be read: %s",
                               strerror(errno));
        else
            add_text(b, path, buf_peek(&text), text.len, is_project);
    }
    if (fd >= 0)
        close(fd);
    buf_done(&text);
}

static void add_dir(struct builder *b, const char *dir)
{
    struct dirent **entries = NULL;
    struct stat st;
    int n = -1;

    if (stat(dir, &st) == 0) {
        remember(b->loader.rules, dir, &st);
        n = may_be_used(b, dir, &st, false) ? yaml_list_folder(dir, &entries) : 0;
    }
    if (n < 0) {
        options_errors_add(b->loader.errs, dir, 0, 0, "", "cannot be read: %s", strerror(errno));
        return;
    }
    if (n > RULES_FILES_MAX)
        complain(b, dir, "too many files");
    for (int i = 0; i < n; i++) {
        if (n <= RULES_FILES_MAX) {
            char *path = mem_printf("%s/%s", dir, entries[i]->d_name);
            add_file(b, path, false);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    if (b->loader.rules->n == 0 && b->loader.errs->total == 0)
        complain(b, dir, "there is no rule in this folder");
}

/* ---- a rule set ---- */

static void start(struct builder *b, const struct rules_load_options *options,
                  struct options_errors *errs)
{
    memset(b, 0, sizeof *b);
    b->loader.rules = mem_alloc(sizeof *b->loader.rules);
    b->loader.options = options;
    b->loader.errs = errs;
    SHA256Init(&b->sha);
    hash(&b->sha, ENGINE_VERSION, strlen(ENGINE_VERSION));
}

static int finish(struct builder *b, size_t errors_before, struct rules **ret)
{
    struct rules *rules = b->loader.rules;
    load_finish(&b->loader);
    if (b->loader.errs->total > errors_before) {
        rules_free(rules);
        return -1;
    }
    if (!b->loader.options->is_for_one)
        SHA256End(&b->sha, rules->version);
    *ret = rules;
    return 0;
}

int rules_load(const struct rules_load_options *options, struct rules **ret,
               struct options_errors *errs)
{
    struct builder b;
    size_t before = errs->total;

    start(&b, options, errs);
    if (options->dir)
        add_dir(&b, options->dir);
    for (size_t i = 0; i < options->nproject_files; i++)
        add_file(&b, options->project_files[i], !options->are_system_files);
    return finish(&b, before, ret);
}

int rules_load_texts(const struct rules_text *texts, size_t ntexts,
                     const struct rules_load_options *options, struct rules **ret,
                     struct options_errors *errs)
{
    struct builder b;
    size_t before = errs->total;

    start(&b, options, errs);
    for (size_t i = 0; i < ntexts; i++)
        add_text(&b, texts[i].name, texts[i].text, texts[i].len, texts[i].is_project);
    return finish(&b, before, ret);
}

void rules_free(struct rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->nregexes; i++)
        pcre2_code_free(rules->regexes[i]->code);
    free(rules->regexes);
    pcre2_match_data_free(rules->data);
    pcre2_match_context_free(rules->context);
    if (rules->jit_stack)
        pcre2_jit_stack_free(rules->jit_stack);
    pcre2_general_context_free(rules->general);
    arena_done(&rules->arena);
    free(rules);
}

const char *rules_version(const struct rules *rules)
{
    return rules->version;
}

size_t rules_count(const struct rules *rules)
{
    return rules->n;
}

void rules_cache_key(const struct rules *rules, const struct rules_call *call,
                     char out[RULES_KEY_SIZE])
{
    const char *texts[] = {rules->version, call->tool, call->cwd, call->home};
    SHA2_CTX sha;
    uint32_t numbers[] = {call->event, call->on_unparsable, call->resolve_links};

    SHA256Init(&sha);
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        /* Not known is another thing than empty. */
        hash(&sha, texts[i] ? "=" : "-", 1);
        hash(&sha, texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) : 0);
    }
    SHA256Update(&sha, (const uint8_t *)numbers, sizeof numbers);
    hash(&sha, call->input.at, call->input.len);
    SHA256End(&sha, out);
}
