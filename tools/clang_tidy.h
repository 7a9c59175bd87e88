/*
 * clang_tidy.h: put before every file by tools/lint.sh, never compiled. clang-tidy sees one file at a time, so it
 * cannot know that these always return -1, and would follow "failed, and yet 0" into variables that were not set.
 */
#include "common/compat.h"
#include "common/err.h"

#define cb_error_set(...)    (__extension__({ (void)(cb_error_set)(__VA_ARGS__); -1; }))
#define cb_error_prefix(...) (__extension__({ (void)(cb_error_prefix)(__VA_ARGS__); -1; }))
