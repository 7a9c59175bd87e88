/*
 * rules_fixture.h: rule sets and calls for check_rules*.c, in a few words. One rule set and one decision at a time.
 */
#ifndef CB_RULES_FIXTURE_H
#define CB_RULES_FIXTURE_H

#include "common/rules/rules.h"

#include "tests/unit/unit.h"

extern struct rules *rules;
extern struct rules_decision decision;
extern struct arena arena;
extern bool want_jit;

/* Frees everything: the teardown of a test case. */
void rules_fixture_done(void);
/* The rules of one group, g, as YAML with the indentation of a list in a mapping. */
void use(const char *yaml);
/* One rule: name r, action deny. */
void use_match(const char *match);
enum rules_action decide_call(enum rules_event event, const char *tool, const char *json,
                              size_t len);
/* A command for the tool Bash. */
enum rules_action decide(const char *command);
enum rules_action decide_tool(const char *tool, const char *json);
/* The command is denied; there is no opinion on it. */
void hit(const char *command);
void miss(const char *command);

#endif
