/*
 * verbs.h: the verbs of claudebench, by the file that each is in. Those of a group are in cmd_<group>*.c, those of the archive are
 * declared in archive_verbs.h.
 */
#ifndef CB_VERBS_H
#define CB_VERBS_H

#include "client/cli.h"

/* cmd_task.c */
extern const struct cli_verb verb_task_add;
extern const struct cli_verb verb_task_list;
extern const struct cli_verb verb_task_update;
extern const struct cli_verb verb_task_rm;

/* cmd_task_show.c */
extern const struct cli_verb verb_task_show;

/* cmd_task_change.c */
extern const struct cli_verb verb_task_cancel;
extern const struct cli_verb verb_task_retry;

/* cmd_task_assign.c */
extern const struct cli_verb verb_task_assign;
extern const struct cli_verb verb_task_reassign;

/* cmd_task_lease.c */
extern const struct cli_verb verb_task_claim;
extern const struct cli_verb verb_task_renew;
extern const struct cli_verb verb_task_progress;
extern const struct cli_verb verb_task_complete;
extern const struct cli_verb verb_task_fail;
extern const struct cli_verb verb_task_release;

/* cmd_task_import.c, cmd_task_export.c */
extern const struct cli_verb verb_task_import;
extern const struct cli_verb verb_task_export;

/* cmd_task_queues.c */
extern const struct cli_verb verb_task_queues;
extern const struct cli_verb verb_task_pause;
extern const struct cli_verb verb_task_resume;
extern const struct cli_verb verb_ctl_pause;
extern const struct cli_verb verb_ctl_resume;

/* cmd_schedule.c */
extern const struct cli_verb verb_schedule_add;
extern const struct cli_verb verb_schedule_list;
extern const struct cli_verb verb_schedule_show;
extern const struct cli_verb verb_schedule_pause;
extern const struct cli_verb verb_schedule_resume;
extern const struct cli_verb verb_schedule_remove;

/* cmd_hook.c */
extern const struct cli_verb verb_hook;

/* cmd_hook_install.c */
extern const struct cli_verb verb_hook_install;
extern const struct cli_verb verb_hook_uninstall;

/* cmd_hook_check.c */
extern const struct cli_verb verb_hook_check;

/* cmd_hook_rules.c */
extern const struct cli_verb verb_hook_test_rules;

/* cmd_ctl.c */
extern const struct cli_verb verb_ctl_reload;
extern const struct cli_verb verb_ctl_scale;
extern const struct cli_verb verb_ctl_drain;
extern const struct cli_verb verb_ctl_stop;
extern const struct cli_verb verb_ctl_log_level;
extern const struct cli_verb verb_ctl_leader;

/* cmd_<verb>.c */
extern const struct cli_verb verb_call;
extern const struct cli_verb verb_work;
extern const struct cli_verb verb_wait;
extern const struct cli_verb verb_status;
extern const struct cli_verb verb_instances;
extern const struct cli_verb verb_metrics;
extern const struct cli_verb verb_config;
extern const struct cli_verb verb_handlers;
extern const struct cli_verb verb_events;
extern const struct cli_verb verb_audit;
extern const struct cli_verb verb_doctor;
extern const struct cli_verb verb_backup;
extern const struct cli_verb verb_restore;

/* top_verb.c */
extern const struct cli_verb verb_top;

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
