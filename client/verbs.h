/*
 * verbs.h: the verbs of claudebench; each is in the file of its name (cmd_*.c).
 */
#ifndef CB_VERBS_H
#define CB_VERBS_H

#include "client/cli.h"

extern const struct cli_verb verb_call;
extern const struct cli_verb verb_task_add;
extern const struct cli_verb verb_task_list;
extern const struct cli_verb verb_task_show;
extern const struct cli_verb verb_task_update;
extern const struct cli_verb verb_task_cancel;
extern const struct cli_verb verb_task_retry;
extern const struct cli_verb verb_task_rm;
extern const struct cli_verb verb_task_assign;
extern const struct cli_verb verb_task_reassign;
extern const struct cli_verb verb_task_claim;
extern const struct cli_verb verb_task_renew;
extern const struct cli_verb verb_task_progress;
extern const struct cli_verb verb_task_complete;
extern const struct cli_verb verb_task_fail;
extern const struct cli_verb verb_task_release;
extern const struct cli_verb verb_task_import;
extern const struct cli_verb verb_task_export;
extern const struct cli_verb verb_task_queues;
extern const struct cli_verb verb_task_pause;
extern const struct cli_verb verb_task_resume;
extern const struct cli_verb verb_schedule_add;
extern const struct cli_verb verb_schedule_list;
extern const struct cli_verb verb_schedule_show;
extern const struct cli_verb verb_schedule_pause;
extern const struct cli_verb verb_schedule_resume;
extern const struct cli_verb verb_schedule_remove;
extern const struct cli_verb verb_hook;
extern const struct cli_verb verb_hook_install;
extern const struct cli_verb verb_hook_uninstall;
extern const struct cli_verb verb_hook_check;
extern const struct cli_verb verb_hook_test_rules;
extern const struct cli_verb verb_work;
extern const struct cli_verb verb_wait;
extern const struct cli_verb verb_status;
extern const struct cli_verb verb_top;
extern const struct cli_verb verb_instances;
extern const struct cli_verb verb_metrics;
extern const struct cli_verb verb_config;
extern const struct cli_verb verb_handlers;
extern const struct cli_verb verb_ctl_reload;
extern const struct cli_verb verb_ctl_scale;
extern const struct cli_verb verb_ctl_drain;
extern const struct cli_verb verb_ctl_stop;
extern const struct cli_verb verb_ctl_pause;
extern const struct cli_verb verb_ctl_resume;
extern const struct cli_verb verb_ctl_log_level;
extern const struct cli_verb verb_ctl_leader;
extern const struct cli_verb verb_events;
extern const struct cli_verb verb_audit;
extern const struct cli_verb verb_doctor;
extern const struct cli_verb verb_backup;
extern const struct cli_verb verb_restore;

/* `top` is a program of its own, claudebench-top: here it is found and executed, there it is carried out. Both have the same table
 * of options. */
int top_run(const struct cli *cli);

/* Not for people: the process that ends the jobs of a `work` that was killed (work_keeper.c). */
#define WORK_KEEPER_VERB "@work-keeper"
int work_keeper_main(void);
/* The same: what the completions of shells ask (complete.c). */
#define COMPLETE_VERB "@complete"
int complete_main(int argc, char **argv);

#endif
