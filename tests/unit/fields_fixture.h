/*
 * fields_fixture.h: a table with a row of every type, and what the tests of common/fields ask about it.
 */
#ifndef CB_FIELDS_FIXTURE_H
#define CB_FIELDS_FIXTURE_H

#include "common/fields.h"
#include "tests/unit/unit.h"

enum { ROWS = 21 };
extern const struct field table[];
extern const char *const moods[];
extern const struct field point_fields[];
extern const struct field task_id[]; /* the element of table's "after" */
extern const struct field any_int[]; /* an integer, or null */

/* One document at a time; fixture_done() frees what it took. */
extern struct arena arena;
extern struct field_value values[ROWS];
extern struct field_problem problem;
void fixture_done(void);

int parse_with(const struct field *rows, const char *text);
int parse(const char *text); /* with `table` */
const struct field_value *value_of(const char *name);
/* Parses {"name": literal} and returns the value. */
const struct field_value *good(const char *name, const char *literal);

struct refusal {
    const char *text, *path, *expected, *got;
};
void assert_refused(const struct field *rows, const struct refusal *r);

#define ASSERT_ALL_REFUSED(rows, refusals)                                                         \
    for (size_t i_ = 0; i_ < CB_ARRAY_LEN(refusals); i_++)                                         \
    assert_refused(rows, &(refusals)[i_])

#endif
