/*
 * replay.c: main() of a fuzz target in a build without libFuzzer. Feeds every file of
 * tests/fuzz/corpus/<name>/ to LLVMFuzzerTestOneInput(), one TAP line per file, so that whatever a
 * fuzzer once found stays found. <name> is the program's without "fuzz_"; files named as arguments
 * are fed instead. A finding ends the program, as it would under libFuzzer.
 */
#include "common/compat.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_count;

/* Reads a whole file into a heap block of exactly its size, so that an overrun is seen by ASan. */
static uint8_t *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        goto fail;
    long size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0)
        goto fail;
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL)
        goto fail;
    *len = fread(data, 1, (size_t)size, file);
    fclose(file);
    return data;

fail:
    perror(path);
    if (file != NULL)
        fclose(file);
    return NULL;
}

static void replay_file(const char *path)
{
    size_t len = 0;
    uint8_t *data = read_file(path, &len);
    replay_count++;
    if (data == NULL) {
        printf("not ok %d - %s\n", replay_count, path);
        return;
    }
    LLVMFuzzerTestOneInput(data, len);
    free(data);
    printf("ok %d - %s\n", replay_count, path);
    fflush(stdout);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    int n = -1;
    if (chdir(path) == 0)
        n = scandir(".", &entries, is_visible, alphasort);
    if (n < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        replay_file(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay_file(argv[i]);
    if (argc == 1) {
        const char *top = getenv("TOP_SRCDIR");
        const char *slash = strrchr(argv[0], '/');
        const char *name = slash != NULL ? slash + 1 : argv[0];
        if (strncmp(name, "fuzz_", 5) == 0)
            name += 5;
        char folder[4000];
        snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name);
        if (replay_folder(folder) < 0)
            return EXIT_FAILURE;
    }
    printf("1..%d\n", replay_count);
    return replay_count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
