/*
 * params.c: see params.h. Used by the verbs that change something; owns nothing.
 */
#include "common/compat.h"
#include "client/params.h"

#include "common/exitcode.h"
#include "common/json.h"

void params_put_id(const struct cli *cli, struct buf *params)
{
    buf_puts(params, "{");
    json_put_text(params, "id", cli->operands[0]);
}

int params_put_operand(const struct cli *cli, struct buf *params, int i, const char *member)
{
    const char *text = cli->operands[i];

    if (!json_is_utf8(text, strlen(text))) {
        cli_say("%s is not UTF-8", member);
        return EXITCODE_DATAERR;
    }
    json_put_text(params, member, text);
    return -1;
}

int params_put_literal(const struct cli *cli, struct buf *params, const char *option,
                       const char *member)
{
    const char *text = cli_value(cli, option, NULL);
    struct json_error why;
    struct json_span value;

    if (!text)
        return -1;
    if (json_check(text, strlen(text), &value, NULL, &why) != 0) {
        cli_say("--%s is not JSON: byte %zu: %s", option, why.offset, why.text);
        return EXITCODE_DATAERR;
    }
    json_put_key(params, member);
    buf_append(params, value.at, value.len);
    return -1;
}

int params_put_int(const struct cli *cli, struct buf *params, const char *option,
                   const char *member)
{
    int64_t n;

    if (cli_int(cli, option, INT64_MIN, INT64_MAX, 0, &n) != 0)
        return EXITCODE_USAGE;
    if (cli_is_set(cli, option))
        json_put_int(params, member, n);
    return -1;
}

int params_put_time(const struct cli *cli, struct buf *params, const char *option,
                    const char *member)
{
    int64_t ms;

    if (cli_time(cli, option, 0, INT64_MAX, 0, &ms) != 0)
        return EXITCODE_USAGE;
    if (cli_is_set(cli, option))
        json_put_int(params, member, ms);
    return -1;
}

void params_put_word(const struct cli *cli, struct buf *params, const char *option)
{
    const char *word = cli_value(cli, option, NULL);

    if (word)
        json_put_text(params, option, word);
}

int params_put_text_as(const struct cli *cli, struct buf *params, const char *option,
                       const char *member)
{
    const char *text = cli_value(cli, option, NULL);

    if (!text)
        return -1;
    if (!json_is_utf8(text, strlen(text))) {
        cli_say("--%s is not UTF-8", option);
        return EXITCODE_DATAERR;
    }
    json_put_text(params, member, text);
    return -1;
}

int params_put_text(const struct cli *cli, struct buf *params, const char *option)
{
    return params_put_text_as(cli, params, option, option);
}

int params_put_task(const struct cli *cli, struct buf *params, const char *text)
{
    int status = -1;

    if (!json_is_utf8(text, strlen(text))) {
        cli_say("the text is not UTF-8");
        return EXITCODE_DATAERR;
    }
    json_put_text(params, "text", text);
    params_put_word(cli, params, "queue");
    if (cli_is_set(cli, "role")) {
        json_put_key(params, "roles");
        cli_put_list(cli, "role", params);
    }
    if ((status = params_put_int(cli, params, "priority", "priority")) >= 0 ||
        (status = params_put_int(cli, params, "max-attempts", "max_attempts")) >= 0 ||
        (status = params_put_int(cli, params, "max-crashes", "max_crashes")) >= 0 ||
        (status = params_put_time(cli, params, "backoff", "backoff_ms")) >= 0 ||
        (status = params_put_time(cli, params, "backoff-max", "backoff_max_ms")) >= 0 ||
        (status = params_put_text_as(cli, params, "unique", "unique_key")) >= 0 ||
        (status = params_put_text(cli, params, "partition")) >= 0 ||
        (status = params_put_time(cli, params, "lease", "lease_ms")) >= 0 ||
        (status = params_put_literal(cli, params, "payload", "payload")) >= 0)
        return status;
    return params_put_literal(cli, params, "metadata", "metadata");
}
