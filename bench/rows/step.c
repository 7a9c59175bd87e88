/*
 * step.c: see step.h. The order of the arguments is that of the headers in lua/.
 */
#include "common/compat.h"
#include "bench/rows/step.h"

#define INCARNATION "bench-bench-bench-bench-"
#define DAY_MS      "86400000"
#define SECRET      "0123456789a"

/* ---- pieces ---- */

/* The nine of lua/include/create.lua: a task without extras, as most are. */
static void put_task(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"text\":");
    shape_put_arg(w, "\"a task of the bench\"");
    shape_arg(w, "50");
    shape_arg(w, "default");
    shape_put(w, ",\"payload\":");
    shape_put_arg(w, in->literal);
    shape_arg(w, "");
    shape_arg(w, "3");
    shape_arg(w, "3");
    shape_arg(w, "");
    shape_arg(w, "");
    shape_put(w, "}");
}

/* Of the two arguments of lua/include/claim.lua the first one, but for the worker's name at its end: who claims what. */
static const char *claimant(unsigned tasks, bool has_lease)
{
    static char text[64];
    snprintf(text, sizeof text, "%u\n%s\ndefault\n\n\n", tasks, has_lease ? DAY_MS : "");
    return text;
}

/* The params of a claim, but for the worker's name. */
static void put_claim(struct shape_writer *w, unsigned tasks, bool has_lease)
{
    char max[12];
    snprintf(max, sizeof max, "%u", tasks);
    shape_put(w, "\"maxTasks\":");
    shape_put(w, max);
    if (has_lease)
        shape_put(w, ",\"lease_ms\":" DAY_MS);
}

static void put_held(struct shape_writer *w, const struct task_ref *task)
{
    shape_put(w, "{\"id\":\"");
    shape_put_id(w, task->id);
    shape_put(w, "\",\"lease_token\":\"");
    shape_put_arg(w, task->token);
    shape_put(w, "\"");
}

static void add_retention(struct shape_writer *w, const struct options *opts)
{
    shape_arg_int(w, opts->task.keep_finished);
    shape_arg_int(w, opts->task.keep_finished_ms);
    shape_arg_int(w, opts->task.keep_finished_min_ms);
    shape_arg_int(w, opts->task.keep_finished_bytes);
}

/* ---- the methods ---- */

static void put_create(struct shape_writer *w, const struct step_input *in)
{
    put_task(w, in);
    shape_operations(w, 1);
}

static void put_create_batch(struct shape_writer *w, const struct step_input *in)
{
    shape_arg_int(w, in->items);
    shape_put(w, "{\"tasks\":[");
    for (unsigned i = 0; i < in->items; i++) {
        if (i)
            shape_put(w, ",");
        put_task(w, in);
    }
    shape_put(w, "]}");
    shape_operations(w, in->items);
}

static void create_operation(struct shape_writer *w, const struct options *opts)
{
    shape_arg_int(w, opts->task.max_pending);
}

static void put_claim_request(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"workerId\":\"");
    shape_put_behind(w, claimant(in->items, true), in->worker);
    shape_arg_drawn(w, SECRET);
    shape_put(w, "\",");
    put_claim(w, in->items, true);
    shape_arg(w, "0");
    shape_put(w, "}");
    shape_operations(w, in->items);
}

/* For as many as there are, and waiting when there are none. */
static void put_claim_wait(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"workerId\":\"");
    shape_put_behind(w, claimant(in->items, false), in->worker);
    shape_arg_drawn(w, SECRET);
    shape_put(w, "\",");
    put_claim(w, in->items, false);
    shape_put(w, ",\"wait_ms\":");
    shape_put_arg(w, "5000");
    shape_put(w, "}");
    shape_operations(w, in->items);
}

static void lease_operation(struct shape_writer *w, const struct options *opts)
{
    shape_arg_int(w, opts->task.lease_ms);
}

static void claim_operation(struct shape_writer *w, const struct options *opts)
{
    lease_operation(w, opts);
    shape_arg_int(w, opts->task.deny_ms);
    shape_arg_int(w, opts->limits.waiters);
    shape_arg(w, options_assignment_name(opts->task.assignment));
}

static void put_complete(struct shape_writer *w, const struct step_input *in)
{
    put_held(w, &in->tasks[0]);
    shape_arg(w, "");
    shape_put(w, ",\"result\":");
    shape_put_arg(w, "\"done\"");
    shape_put(w, "}");
    shape_operations(w, 1);
}

static void put_complete_next(struct shape_writer *w, const struct step_input *in)
{
    put_held(w, &in->tasks[0]);
    shape_put(w, ",\"workerId\":\"");
    shape_put_arg(w, in->worker);
    shape_put(w, "\",\"result\":");
    shape_put_arg(w, "\"done\"");
    shape_arg_again(w, claimant(1, false), 2);
    shape_arg_drawn(w, SECRET);
    shape_put(w, ",\"next\":{");
    put_claim(w, 1, false);
    shape_put(w, "}}");
    shape_operations(w, 2);
}

static void put_complete_batch(struct shape_writer *w, const struct step_input *in)
{
    shape_arg(w, "");
    shape_arg_int(w, in->items);
    shape_put(w, "{\"items\":[");
    for (unsigned i = 0; i < in->items; i++) {
        if (i)
            shape_put(w, ",");
        put_held(w, &in->tasks[i]);
        shape_put(w, ",\"result\":");
        shape_put_arg(w, "\"done\"");
        shape_put(w, "}");
    }
    shape_put(w, "]}");
    shape_operations(w, in->items);
}

static void complete_operation(struct shape_writer *w, const struct options *opts)
{
    lease_operation(w, opts);
    add_retention(w, opts);
    shape_arg_int(w, opts->task.deny_ms);
    shape_arg(w, options_assignment_name(opts->task.assignment));
}

static void put_fail(struct shape_writer *w, const struct step_input *in)
{
    put_held(w, &in->tasks[0]);
    shape_put(w, ",\"error\":");
    shape_put_arg(w, "\"it did not work\"");
    shape_arg(w, "1");
    shape_arg_drawn(w, "500");
    shape_arg(w, "0");
    shape_arg(w, "");
    shape_put(w, "}");
    shape_operations(w, 1);
}

static void fail_operation(struct shape_writer *w, const struct options *opts)
{
    shape_arg_int(w, opts->task.backoff_ms);
    shape_arg_int(w, opts->task.backoff_max_ms);
    add_retention(w, opts);
}

static void put_release(struct shape_writer *w, const struct step_input *in)
{
    put_held(w, &in->tasks[0]);
    shape_put(w, "}");
    shape_operations(w, 1);
}

static void put_renew(struct shape_writer *w, const struct step_input *in)
{
    put_held(w, &in->tasks[0]);
    shape_put(w, ",\"extend_ms\":");
    shape_put_arg(w, DAY_MS);
    shape_put(w, "}");
    shape_operations(w, 1);
}

static void put_progress(struct shape_writer *w, const struct step_input *in)
{
    put_held(w, &in->tasks[0]);
    shape_put(w, ",\"percent\":");
    shape_put_arg(w, "50");
    shape_put(w, ",\"note\":");
    shape_put_arg(w, "\"half of it\"");
    shape_put(w, "}");
    shape_operations(w, 1);
}

/* Another priority each time, so that the task moves in its queue. */
static void put_update(struct shape_writer *w, const struct step_input *in)
{
    char priority[12];
    snprintf(priority, sizeof priority, "%u", 10 + in->number % 89);
    shape_put(w, "{\"id\":\"");
    shape_put_id(w, in->tasks[0].id);
    shape_arg(w, "");
    shape_arg(w, "");
    shape_arg(w, "");
    shape_put(w, "\",\"updates\":{\"priority\":");
    shape_put_arg(w, priority);
    shape_arg(w, "");
    shape_put(w, "}}");
    shape_operations(w, 1);
}

static void put_get(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"id\":\"");
    shape_put_id(w, in->tasks[0].id);
    shape_put(w, "\"}");
    shape_operations(w, 1);
}

static void put_list(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"status\":\"");
    shape_put_arg(w, "pending");
    shape_arg(w, "");
    shape_arg(w, "");
    shape_arg(w, "");
    shape_put(w, "\",\"limit\":");
    shape_put_arg(w, "50");
    shape_arg(w, "");
    shape_arg(w, "oldest");
    shape_put(w, "}");
    shape_operations(w, 100);
    (void)in;
}

static void put_instance(struct shape_writer *w, unsigned number)
{
    char name[16];
    snprintf(name, sizeof name, "agent-%02u", number % STEP_INSTANCES);
    shape_put_arg(w, name);
}

static void put_register(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"id\":\"");
    put_instance(w, in->number);
    shape_arg(w, "[]");
    shape_arg(w, "1");
    shape_put(w, "\",\"lease_ms\":");
    shape_put_arg(w, DAY_MS);
    shape_arg(w, "{}");
    shape_arg(w, "1");
    shape_arg_drawn(w, INCARNATION);
    shape_arg(w, "default");
    shape_arg(w, "");
    shape_put(w, "}");
    shape_operations(w, 1);
}

static void register_operation(struct shape_writer *w, const struct options *opts)
{
    shape_arg_int(w, opts->cluster.agent_lease_ms);
}

static void put_beat(struct shape_writer *w, const struct step_input *in, unsigned leases)
{
    shape_put(w, "{\"instanceId\":\"");
    put_instance(w, in->number);
    shape_put(w, "\",\"incarnation\":\"");
    shape_put_arg(w, INCARNATION);
    shape_arg(w, "healthy");
    shape_put(w, "\",\"load\":");
    shape_put_arg(w, "1");
    shape_arg_int(w, leases);
    shape_put(w, ",\"renew\":[");
    for (unsigned i = 0; i < leases; i++) { /* the script learns the keys inside */
        shape_put(w, i ? ",{\"id\":\"" : "{\"id\":\"");
        shape_put_arg(w, in->tasks[i].id);
        shape_put(w, "\",\"lease_token\":\"");
        shape_put_arg(w, in->tasks[i].token);
        shape_put(w, "\"}");
    }
    shape_put(w, "]}");
    shape_arg(w, ""); /* seen */
    shape_operations(w, 1 + leases);
}

static void put_heartbeat(struct shape_writer *w, const struct step_input *in)
{
    put_beat(w, in, 0);
}

static void put_heartbeat_renew(struct shape_writer *w, const struct step_input *in)
{
    put_beat(w, in, in->items);
}

/* What the worker makes of it: a decision of no rule, and its record. The bare servers have the answer ready. */
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void put_pre_tool(struct shape_writer *w, const struct step_input *in)
{
    shape_put(w, "{\"tool\":\"Bash\",\"params\":{\"command\":\"git status && make -j2 check\","
                 "\"description\":");
    shape_put(w, in->literal);
    shape_put(w, "},\"cwd\":\"/home/user/project\",\"home\":\"/home/user\",\"use_id\":\"bench\"}");
    shape_arg(w, "hook.pre_tool");
    shape_arg_drawn(
        w, "{\"allow\":true,\"decision\":\"none\",\"reason\":\"\",\"notes\":[],\"cached\":false,"
           "\"rules\":\"" HASH "\"}");
    shape_arg_drawn(
        w, "{\"event\":\"PreToolUse\",\"tool\":\"Bash\",\"use_id\":\"bench\",\"decision\":\"none\","
           "\"rules\":\"" HASH "\",\"cached\":false,\"took_us\":10,\"input_hash\":\"" HASH "\"}");
    shape_arg(w, "none");
    shape_arg(w, "Bash");
    shape_arg(w, "");
    shape_operations(w, 1);
}

static void audit_operation(struct shape_writer *w, const struct options *opts)
{
    shape_arg_int(w, opts->limits.audit_entries);
}

/* ---- the table ---- */

/* clang-format off */
#define STEP(name, method_, script_, about_, takes_, put_, operation_, ...)                         \
    const struct step step_##name = {.method = METHOD_##method_, .script = SCRIPT_##script_,       \
                                     .about = STEP_ABOUT_##about_, .takes = takes_, .put = put_,   \
                                     .operation = operation_, __VA_ARGS__}
STEP(create,          task_create,         TASK_CREATE,         NOTHING, false, put_create,          create_operation);
STEP(create_batch,    task_create_batch,   TASK_CREATE_BATCH,   NOTHING, false, put_create_batch,    create_operation);
STEP(claim,           task_claim,          TASK_CLAIM,          NOTHING, true,  put_claim_request,   claim_operation);
STEP(claim_wait,      task_claim,          TASK_CLAIM,          NOTHING, true,  put_claim_wait,      claim_operation);
STEP(complete,        task_complete,       TASK_COMPLETE,       ONE,     false, put_complete,        complete_operation);
STEP(complete_next,   task_complete,       TASK_COMPLETE,       ONE,     true,  put_complete_next,   complete_operation);
STEP(complete_batch,  task_complete_batch, TASK_COMPLETE_BATCH, ITEMS,   false, put_complete_batch,  complete_operation);
STEP(fail,            task_fail,           TASK_FAIL,           ONE,     false, put_fail,            fail_operation);
STEP(release,         task_release,        TASK_RELEASE,        ONE,     false, put_release,         NULL);
STEP(renew,           task_renew,          TASK_RENEW,          ONE,     false, put_renew,           lease_operation);
STEP(progress,        task_progress,       TASK_PROGRESS,       ONE,     false, put_progress,        NULL);
STEP(update,          task_update,         TASK_UPDATE,         ONE,     false, put_update,          add_retention);
STEP(get,             task_get,            TASK_GET,            ONE,     false, put_get,             NULL);
STEP(list,            task_list,           TASK_LIST,           NOTHING, false, put_list,            NULL);
STEP(register,        system_register,     SYSTEM_REGISTER,     NOTHING, false, put_register,        register_operation);
STEP(heartbeat,       system_heartbeat,    SYSTEM_HEARTBEAT,    NOTHING, false, put_heartbeat,       lease_operation);
STEP(heartbeat_renew, system_heartbeat,    SYSTEM_HEARTBEAT,    ITEMS,   false, put_heartbeat_renew, lease_operation);
STEP(pre_tool,        hook_pre_tool,       HOOK_DECIDE,         NOTHING, false, put_pre_tool,        audit_operation, .has_audit = true);
/* clang-format on */

unsigned step_about(const struct step *step, unsigned items)
{
    return step->about == STEP_ABOUT_NOTHING ? 0 : step->about == STEP_ABOUT_ONE ? 1 : items;
}

void step_shapes(const struct step *step, const struct options *opts, const char *literal,
                 unsigned items, struct shape *ret_shape, struct shape *ret_operation)
{
    struct task_ref tasks[STEP_TASKS_MAX];
    struct step_input in = {
        .worker = "worker-000", .literal = literal, .items = items, .tasks = tasks};
    struct shape_writer sample = {.shape = ret_shape}, operation = {.shape = ret_operation};

    cb_assert(items <= STEP_TASKS_MAX);
    for (unsigned i = 0; i < STEP_TASKS_MAX; i++) {
        snprintf(tasks[i].id, sizeof tasks[i].id, "t-%016u", i);
        snprintf(tasks[i].token, sizeof tasks[i].token, "%016u-0123456789a", i);
    }
    *ret_shape = (struct shape){0};
    *ret_operation = (struct shape){0};
    step->put(&sample, &in);
    if (step->operation)
        step->operation(&operation, opts);
    buf_done(&sample.params);
    buf_done(&operation.params);
}
