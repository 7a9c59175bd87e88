/*
 * check_shell_words.c: common/shell_words: which commands a text is taken to run.
 *
 * Expectations are the commands, " ; " between them, as put_command() writes them: "sudo: rm -rf /" is rm run
 * by sudo; a word with blanks or nothing in it is in '…'; ? stands for what is not known.
 */
#include "common/compat.h"
#include "common/shell/words.h"

#include "common/buf.h"
#include "common/clock.h"
#include "tests/unit/unit.h"

static const struct shell_context CONTEXT = {.cwd = "/home/user/project", .home = "/home/user"};

static struct arena arena = ARENA_INIT;
static struct shell_script script;

static void teardown(void)
{
    arena_done(&arena);
}

static void put_word(struct buf *out, const char *before, const struct shell_word *word)
{
    bool is_odd = word->len == 0 || strpbrk(word->text, " \n\t;") != NULL;
    if (out->len && out->data[out->len - 1] != ' ')
        buf_putc(out, ' ');
    buf_puts(out, before);
    buf_puts(out, is_odd ? "'" : "");
    for (uint32_t i = 0; i < word->len; i++)
        buf_putc(out, (char)(word->text[i] == SHELL_ANY ? '?' : word->text[i]));
    buf_puts(out, is_odd ? "'" : "");
}

static void put_command(struct buf *out, const struct shell_command *c)
{
    static const char *const redirects[] = {"<", ">", ">>", "<>", ">&", "<<"};
    if (out->len)
        buf_puts(out, " ; ");
    if (c->via)
        buf_printf(out, "%s: ", c->via);
    for (uint32_t i = 0; i < c->nassigns; i++)
        put_word(out, "", &c->assigns[i]);
    for (uint32_t i = 0; i < c->nwords; i++)
        put_word(out, "", &c->words[i]);
    for (uint32_t i = 0; i < c->nredirects; i++)
        put_word(out, redirects[c->redirects[i].kind], &c->redirects[i].target);
}

static int parse(const char *text)
{
    arena_reset(&arena);
    return shell_parse(text, strlen(text), &CONTEXT, &arena, &script);
}

static void put_script(struct buf *out)
{
    for (int i = 0; i < script.ncommands; i++)
        put_command(out, &script.commands[i]);
}

static void same_commands(const char *text, const char *expected)
{
    struct buf out = BUF_INIT;
    put_script(&out);
    ck_assert_msg(strcmp(buf_peek(&out), expected) == 0, "%s\n  got      %s\n  expected %s", text,
                  buf_peek(&out), expected);
    buf_done(&out);
}

/* The text gives these commands and no problem. */
static void gives(const char *text, const char *expected)
{
    int status = parse(text);
    ck_assert_msg(status == 0, "%s: %s at %u", text, script.problem.text, script.problem.at);
    same_commands(text, expected);
}

/* The text has this problem at this offset, behind these commands. */
static void fails(const char *text, const char *problem, unsigned at, const char *expected)
{
    int status = parse(text);
    ck_assert_msg(status == -1, "%s: no problem", text);
    ck_assert_msg(strcmp(script.problem.text, problem) == 0 && script.problem.at == at,
                  "%s: %s at %u", text, script.problem.text, script.problem.at);
    same_commands(text, expected);
}

/* True when one of the commands begins with these words. */
static bool has_command(const char *expected)
{
    bool is_found = false;
    for (int i = 0; i < script.ncommands && !is_found; i++) {
        struct shell_command c = script.commands[i];
        struct buf out = BUF_INIT;
        c.via = NULL;
        c.nassigns = 0;
        put_command(&out, &c);
        is_found = strncmp(buf_peek(&out), expected, strlen(expected)) == 0;
        buf_done(&out);
    }
    return is_found;
}

/* However it is written, `rm -rf /` is found. */
static void is_rm(const char *text)
{
    int status = parse(text);
    struct buf out = BUF_INIT;
    put_script(&out);
    ck_assert_msg(status == 0, "%s: %s at %u", text, script.problem.text, script.problem.at);
    ck_assert_msg(has_command("rm -rf /"), "%s\n  got %s", text, buf_peek(&out));
    buf_done(&out);
}

static void is_not_rm(const char *text)
{
    parse(text);
    ck_assert_msg(!has_command("rm"), "%s", text);
}

START_TEST(lists)
{
    gives("", "");
    gives("  # only a comment", "");
    gives("ls -l", "ls -l");
    gives("a; b && c || d & e | f |& g\nh", "a ; b ; c ; d ; e ; f ; g ; h");
    gives("a \\\n b", "a b");
    gives("a # b; c\nd", "a ; d");
    gives("a#b", "a#b");
    gives("(a; b) && { c; d; }", "a ; b ; c ; d");
    gives("! a && time b", "a ; time b ; time: b");
    gives("&& a ;; b", "a ; b");
}
END_TEST

START_TEST(compound_commands)
{
    gives("if a; then b; elif c; then d; else e; fi", "a ; b ; c ; d ; e");
    gives("while a; do b; done > f", "a ; b ; >f");
    gives("until a\ndo\nb\ndone", "a ; b");
    gives("for x in 1 2; do a $x; done", "a 1 2");
    gives("for x in 1 2; do a \"$x\"; done", "a 1 2");
    gives("for ((i = 0; i < 3; i++)); do a; done; b",
          "((…)): i = 0 ; ((…)): i <3 ; ((…)): i++ ; a ; b");
    gives("for x; do a $x; done", "a ?");
    gives("case $x in a|b) c;; (d) e ;& *) f; esac; g", "c ; e ; f ; g");
    gives("case x in\n  if) a ;;\nesac", "a");
    gives("[[ -f a && ( b > c || $(d) =~ ^(x|y)$ ) ]] && e", "d ; e");
    gives("f() { a; }; function g { b; }; function h() (c)", "a ; b ; c");
    gives("f()\n{\n  a\n}", "a");
    gives("{ a; } | (b)", "a ; b");
    gives("echo if then fi", "echo if then fi");
    gives("coproc a", "a");
}
END_TEST

START_TEST(quoting)
{
    gives("a 'b c' \"d e\" f\\ g", "a 'b c' 'd e' 'f g'");
    gives("a ''\"\"", "a ''");
    gives("r''m \\rm r\\m \"r\"m", "rm rm rm rm");
    gives("a '$x `b`' \\$x", "a '$x `b`' $x");
    gives("a \"\\$x \\q \\\" \\\\\"", "a '$x \\q \" \\'");
    gives("a $'\\x72\\155\\u0041\\n\\'' b", "a 'rmA\n'' b");
    gives("a $\"b c\"", "a 'b c'");
    gives("a \"b\\\nc\"", "a bc");
    gives("a;b' ;'c", "a ; 'b ;c'");
}
END_TEST

START_TEST(expansions)
{
    gives("a $x ${x} \"$x\" b$x", "a ? ? ? b?");
    gives("a ~ ~/b ~root/c ~bob/d '~' x~", "a /home/user /home/user/b /root/c /home/bob/d ~ x~");
    gives("a $HOME \"${HOME}/b\" $PWD", "a /home/user /home/user/b /home/user/project");
    gives("x=1 y='2 3'; a $x \"$y\" $y", "x=1 'y=2 3' ; a 1 '2 3' 2 3");
    gives("x=1; x+=2; a $x; unset x; a $x", "x=1 ; x+=2 ; a 12 ; unset x ; a ?");
    gives("export x=1; declare -r y=2; a $x$y", "export x=1 ; declare -r y=2 ; a 12");
    gives("x=(1 '2 3'); a \"${x[@]}\" ${x[0]}", "x=(? ; a 1 '2 3' ?");
    gives("a ${x:-b} ${x:+c} ${HOME:0:1} ${x#y}", "a b c / ?");
    gives("x=RM; ${x,,} b; ${x^^}", "x=RM ; rm b ; RM");
    gives("a $(( 1 + $(b) )) $[1]", "b ; a ? ?");
    gives("a $1 \"$@\" b$@c", "a ? ? bc");
    gives("a $ \"$\"", "a $ $");
    gives("(x=1); a $x", "x=1 ; a ?");
    gives("x=1; x=$(b); a $x", "x=1 ; b ; x=? ; a ?");
    gives("read x <<< '1 2'; a $x", "read x <<'1 2' ; a 1 2");
}
END_TEST

START_TEST(braces)
{
    gives("a {b,c}d{e,f}", "a bde bdf cde cdf");
    gives("a {b,{c,d}}", "a b c d");
    gives("a {b} {} {b,c x} '{b,c}' b\\,{c,}", "a {b} {} {b,c x} {b,c} b,c b,");
    gives("a {1..3} x{a..c} {c..a..2}", "a ? xa xb xc ?");
    gives("{rm,-rf,/}", "rm -rf /");
    gives("a {b,c", "a {b,c");
}
END_TEST

START_TEST(substitutions)
{
    gives("a $(b \"$(c)\") `d`", "c ; b ? ; `…`: d ; a ? ?");
    gives("a \"$(b)\" \"x`c`\"", "b ; `…`: c ; a ? x?");
    gives("a $(echo b c) \"$(printf '%s-%s' d e)\"", "echo b c ; printf %s-%s d e ; a b c d-e");
    gives("a $(echo -e '\\x62') $(printf '\\143\\n')", "echo -e \\x62 ; printf \\143\\n ; a b c");
    gives("a <(b) >(c)", "b ; c ; a '?\n' ?");
    gives("a `echo \\`b\\``", "`…`: b ; `…`: echo ? ; a ?");
    gives("a $(case x in x) b;; esac)", "b ; a ?");
    gives("$(which rm) b", "which rm ; rm b");
    gives("cd $(pwd)/x && a", "pwd ; cd /home/user/project/x ; a");
}
END_TEST

START_TEST(redirections)
{
    gives("a >b 2>>c <d 2>&1 &>e >|f >&g <>h {i}>j", "a {i} >b >>c <d >&1 >e >f >g <>h >j");
    gives("> a b", "b >a");
    gives("a 2> b", "a >b");
    gives("a2 >b", "a2 >b");
    gives(">a", ">a");
    gives("a > \"/etc/pass\"wd", "a >/etc/passwd");
    gives("exec 3<>/dev/tcp/h/1", "exec <>/dev/tcp/h/1");
}
END_TEST

START_TEST(here_documents)
{
    gives("cat <<EOF > f\na $x\nEOF\nb", "cat <<'a ?\n' >f ; b");
    gives("cat <<'EOF'\n`a` $(b) it's\nEOF\nc", "cat <<'`a` $(b) it's\n' ; c");
    gives("cat <<EOF\n$(a)\nEOF", "cat <<'?\n' ; a");
    gives("cat <<-E\n\t\ta\n\tE\nb", "cat <<'\t\ta\n' ; b");
    gives("cat <<A <<B; c\n1\nA\n2\nB\nd", "cat <<'1\n' <<'2\n' ; c ; d");
    gives("a \"$(cat <<'EOF'\nit's \"(\nEOF\n)\" b", "cat <<'it's \"(\n' ; a 'it's \"(' b");
    gives("cat <<EOF\nno end", "cat <<'no end'");
    gives("a <<< 'b c'", "a <<'b c'");
    gives("cat <<A\n$(cat <<B\n1\nB\n)\nA\nc", "cat <<'1\n' ; cat <<'1\n' ; c");
}
END_TEST

START_TEST(wrappers)
{
    gives("sudo -u bob -- a b", "sudo -u bob -- a b ; sudo: a b");
    gives("sudo X=1 a", "sudo X=1 a ; sudo: a");
    gives("env -i -u X A=1 a b", "env -i -u X A=1 a b ; env: a b");
    gives("nice -n 5 nohup a", "nice -n 5 nohup a ; nice: nohup a ; nohup: a");
    gives("timeout -s KILL 5m a b", "timeout -s KILL 5m a b ; timeout: a b");
    gives("sh -c 'a; b'", "sh -c 'a; b' ; sh -c: a ; sh -c: b");
    gives("bash -o pipefail -lc 'a'", "bash -o pipefail -lc a ; bash -c: a");
    gives("eval a '; b'", "eval a '; b' ; eval: a ; eval: b");
    gives("su - bob -c 'a b'", "su - bob -c 'a b' ; su -c: a b");
    gives("ssh -p 22 h a '; b'", "ssh -p 22 h a '; b' ; ssh: a ; ssh: b");
    gives("chroot /x a", "chroot /x a ; chroot: a");
    gives("watch -n 1 'a | b'", "watch -n 1 'a | b' ; watch: a ; watch: b");
    gives("trap 'a b' EXIT", "trap 'a b' EXIT ; trap: a b");
    gives("alias x='a b'", "alias 'x=a b' ; alias: a b");
    gives("git -c alias.x='!a b' x", "git -c 'alias.x=!a b' x ; git alias: a b");
    gives("flock /x -c 'a b'", "flock /x -c 'a b' ; flock -c: a b");
    gives("env -S 'a b'", "env -S 'a b' ; env -S: a b");
    gives("busybox a b", "busybox a b ; busybox: a b");
    gives("/usr/bin/sudo a", "/usr/bin/sudo a ; sudo: a");
}
END_TEST

START_TEST(find_and_xargs)
{
    gives("find . -name '*.o' -exec rm -f {} +",
          "find . -name *.o -exec rm -f {} + ; find -exec: rm -f ./_/*.o");
    gives("find / -exec a {} \\; -exec b x{}y \\;",
          "find / -exec a {} ';' -exec b x{}y ';' ; find -exec: a / ; find -exec: b x/y");
    gives("find /x -delete", "find /x -delete ; find -delete: rm -rf /x");
    gives("find / -name 'a*z' -delete", "find / -name a*z -delete ; find -delete: rm -rf /");
    gives("find ~ ! -name keep -delete",
          "find /home/user ! -name keep -delete ; find -delete: rm -rf /home/user");
    gives("find ~ -name '*.pyc' -o -true -delete",
          "find /home/user -name *.pyc -o -true -delete ; find -delete: rm -rf /home/user");
    gives("echo / /x | xargs -n 1 a b", "echo / /x ; xargs -n 1 a b ; xargs: a b / /x");
    gives("a | xargs -I{} b {} c", "a ; xargs -I{} b {} c ; xargs: b ? c");
    gives("echo x | xargs -I% b%d", "echo x ; xargs -I% b%d ; xargs: bxd");
    gives("parallel a ::: 1 2", "parallel a ::: 1 2 ; parallel: a 1 2");
    parse("a | xargs b");
    ck_assert(script.commands[2].flags & SHELL_MORE_ARGS);
}
END_TEST

START_TEST(code)
{
    is_rm("python3 -c \"import os; os.system('rm -rf /')\"");
    is_rm("python3.11 -Ic 'import subprocess as s; s.run([\"rm\", \"-rf\", \"/\"])'");
    is_rm("perl -e 'system \"rm -rf /\"'");
    is_rm("perl -we 'exec(\"rm\",\"-rf\",\"/\")'");
    is_rm("ruby -e '`rm -rf /`'");
    is_rm("node -e \"require('child_process').execSync('rm -rf /')\"");
    is_rm("php -r 'shell_exec(\"rm -rf /\");'");
    is_rm("awk 'BEGIN { system(\"rm -rf /\") }'");
    is_rm("python3 <<'EOF'\nimport os\nos.system('rm -rf /')\nEOF");
    is_rm("echo \"import os; os.system('rm -rf /')\" | python3");
    is_not_rm("python3 -c \"print('rm -rf /')\"");
    is_not_rm("awk '{ print \"rm -rf /\" }' f");
    is_not_rm("echo '{\"x\": \"rm -rf /\"}' | python3 -m json.tool");
}
END_TEST

START_TEST(disguises)
{
    static const char *const texts[] = {
        "rm -rf /",
        "r\\m -r\"f\" /",
        "'rm' -rf '/'",
        "$(echo rm) -rf /",
        "`echo rm` -rf /",
        "$(printf '\\x72\\x6d') -rf /",
        "$'\\162\\155' -rf /",
        "X=rm; Y=/; $X -rf $Y",
        "X='rm -rf /'; $X",
        "X='rm -rf /'; eval \"$X\"",
        "rm${IFS}-rf${IFS}/",
        "r$@m -rf /",
        "r${9}m -rf /",
        "{rm,-rf,/}",
        "a=(rm -rf /); \"${a[@]}\"",
        "cd /; X=$PWD; rm -rf $X",
        "rm -rf ${HOME:0:1}",
        "rm -rf ${NOPE:-/}",
        "echo 'rm -rf /' | sh",
        "printf '%s' 'rm -rf /' | sudo bash -s",
        "(echo rm -rf /) | bash",
        "sh <<< 'rm -rf /'",
        "sh <<EOF\nrm -rf /\nEOF",
        "cat <<EOF | bash\nrm -rf /\nEOF",
        "sudo env bash <<EOF\nrm -rf /\nEOF",
        "bash <(echo rm -rf /)",
        "source <(echo rm -rf /)",
        "bash -c \"$(cat <<'EOF'\nrm -rf /\nEOF\n)\"",
        "sh -c \"sh -c 'sh -c \\\"rm -rf /\\\"'\"",
        "$SHELL -c 'rm -rf /'",
        "command -p rm -rf /",
        "exec -a x rm -rf /",
        "echo -n / | xargs rm -rf",
        "echo / | while read -r d; do rm -rf \"$d\"; done",
        "f() { rm -rf /; }",
        "!(rm -rf /)",
        "((rm -rf /))",
        "alias ls='rm -rf /'",
        "trap 'rm -rf /' EXIT",
        "time -p rm -rf /",
        "echo rm -rf / | at now",
        "x=1 rm -rf /",
        "if :; then rm -rf /; fi",
        "for d in /; do rm -rf $d; done",
        "case 1 in *) rm -rf /;; esac",
        "true && \\\nrm \\\n -rf /",
        "</dev/null rm -rf /",
        "rm -rf / >/dev/null",
        "{ rm -rf /; }",
        "cat x | (rm -rf /)",
        "git config --global alias.x '!rm -rf /'",
        "git submodule foreach 'rm -rf /'",
        "tmux new-session -d 'rm -rf /'",
        "nohup setsid stdbuf -oL nice -n 1 ionice -c 3 rm -rf /",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++)
        is_rm(texts[i]);
}
END_TEST

START_TEST(only_mentioned)
{
    static const char *const texts[] = {
        "echo 'rm -rf /'",
        "echo rm -rf /",
        "grep -rn 'rm -rf /' .",
        "git commit -m 'never rm -rf /'",
        "git commit -m \"$(cat <<'EOF'\nnever rm -rf /\nEOF\n)\"",
        "cat <<'EOF' > README.md\nrm -rf /\n`rm -rf /`\nEOF",
        "# rm -rf /",
        "ls # ; rm -rf /",
        "case rm in rm) ls;; esac",
        "[[ $x == rm ]]",
        "x='rm -rf /'",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++)
        is_not_rm(texts[i]);
}
END_TEST

START_TEST(folders)
{
    parse("a; cd /x && b; (cd y; c); d; cd \"$z\"; e; cd; f; cd -; g");
    static const char *const expected[] = {
        "/home/user/project", "/home/user/project", "/x", "/x", "/x/y", "/x", "/x", NULL, NULL,
        "/home/user",         "/home/user",         NULL};
    ck_assert_int_eq(script.ncommands, (int)CB_ARRAY_LEN(expected));
    for (size_t i = 0; i < CB_ARRAY_LEN(expected); i++) {
        const char *cwd = script.commands[i].cwd;
        ck_assert_msg((cwd && expected[i] && strcmp(cwd, expected[i]) == 0) || cwd == expected[i],
                      "%zu: %s", i, cwd ? cwd : "not known");
    }
}
END_TEST

START_TEST(feeding)
{
    parse("a | b | c");
    ck_assert_int_eq(script.commands[0].feeds_from, 1);
    ck_assert_int_eq(script.commands[1].feeds_from, 2);
    ck_assert_int_eq(script.commands[2].feeds_from, -1);
    parse("curl x | sudo sh");
    ck_assert_int_eq(script.commands[0].feeds_from, 1);
    ck_assert_int_eq(script.commands[0].feeds_to, 3);
    ck_assert(script.commands[2].flags & SHELL_RUNS_INPUT);
    parse("bash -c \"$(curl x)\"");
    ck_assert(script.commands[1].flags & SHELL_RUNS_INPUT);
    ck_assert_int_eq(script.commands[0].feeds_from, 1);
    parse("curl x | python3 -c 'import json'");
    ck_assert(!(script.commands[1].flags & SHELL_RUNS_INPUT));
    parse("curl x | python3 -");
    ck_assert(script.commands[1].flags & SHELL_RUNS_INPUT);
    parse("curl x | bash script.sh");
    ck_assert(!(script.commands[1].flags & SHELL_RUNS_INPUT));
    parse(". <(curl x)");
    ck_assert(script.commands[1].flags & SHELL_RUNS_INPUT);
}
END_TEST

START_TEST(places)
{
    parse("ls && sudo -E rm x");
    ck_assert_int_eq(script.commands[1].begin, 6);
    ck_assert_int_eq(script.commands[2].begin, 14);
    ck_assert_int_eq(script.commands[2].end, 18);
    parse("sh -c 'sudo ls'");
    ck_assert_int_eq(script.commands[1].begin, script.commands[1].end);
    parse("x=$(sudo ls)");
    ck_assert_int_eq(script.commands[0].begin, 4);
}
END_TEST

START_TEST(problems)
{
    fails("a; b 'c", "single quote without end", 5, "a");
    fails("a \"b", "double quote without end", 2, "");
    fails("a $'b", "single quote without end", 3, "");
    fails("a `b", "backtick without end", 2, "");
    fails("a; (b", "parenthesis without end", 3, "a ; b");
    fails("a $(b", "parenthesis without end", 2, "b");
    fails("a ${b", "${ without end", 2, "");
    fails("a <(b", "parenthesis without end", 2, "b");
    fails("x=(a", "parenthesis without end", 2, "");
    fails("case x in", "case without esac", 4, "");
    fails("[[ a; b", "[[ without end", 2, "");
    fails("a; sh -c 'b \"c'; d", "double quote without end", 15, "a ; sh -c 'b \"c' ; d");
    ck_assert_str_eq(script.problem.via, "sh -c");
    ck_assert_int_eq(shell_parse("a\0b", 3, &CONTEXT, &arena, &script), -1);
    ck_assert_str_eq(script.problem.text, "NUL character");
    fails("a $(cat <<'E'\nx\nE)", "parenthesis without end", 2, "cat <<'x\nE)'");
}
END_TEST

static void repeat(struct buf *out, const char *text, size_t n)
{
    while (n--)
        buf_puts(out, text);
}

START_TEST(limits)
{
    static const struct {
        const char *text;
        size_t n;
        const char *problem;
    } cases[] = {
        {"(", 100, "nested too deep"},     {"$(", 100, "nested too deep"},
        {"\"$(", 100, "nested too deep"},  {"${x:-", 100, "nested too deep"},
        {"{ ", 100, "nested too deep"},    {"if ", 100, "nested too deep"},
        {"sudo ", 100, "nested too deep"}, {"eval eval ", 50, "nested too deep"},
        {"a;", 5000, "too many commands"}, {"a ", 70000, "too many words"},
        {"a", 2000000, "too long"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        struct buf text = BUF_INIT;
        repeat(&text, cases[i].text, cases[i].n);
        int status = parse(buf_peek(&text));
        ck_assert_msg(status == -1, "%s: no problem", cases[i].text);
        ck_assert_msg(strcmp(script.problem.text, cases[i].problem) == 0, "%s: %s", cases[i].text,
                      script.problem.text);
        buf_done(&text);
    }
}
END_TEST

/* Texts made to be slow. Each ends fast, or is refused; a quadratic parser would take minutes. */
START_TEST(no_text_is_slow)
{
    static const char *const pieces[] = {
        "\"",      "'",       "`",      "((",        "{a,", "{a,b}",
        "$x",      "x=$x$x;", "a <<E;", "cat <<E\n", "[[",  "case x in a)",
        "\\",      "${x",     "~",      "sh -c ",    "$(",  "find . -exec ",
        "x+=y;",   "!(",      "a|",     "a\n",       "#",   "xargs ",
        "echo $(", ")",       "<(",     "&>",
    };
    struct buf text = BUF_INIT;
    int64_t worst = 0;
    const char *worst_piece = "";
    for (size_t i = 0; i < CB_ARRAY_LEN(pieces); i++) {
        buf_reset(&text);
        repeat(&text, pieces[i], 200000 / strlen(pieces[i]));
        int64_t before = clock_mono_us();
        parse(buf_peek(&text));
        int64_t took = clock_mono_us() - before;
        if (took > worst) {
            worst = took;
            worst_piece = pieces[i];
        }
    }
    printf("# 200 kB of \"%s\" took %" PRId64 " us, others less\n", worst_piece, worst);
    buf_done(&text);
}
END_TEST

START_TEST(argument_vectors)
{
    struct shell_word words[] = {
        {.text = "bash", .len = 4}, {.text = "-lc", .len = 3}, {.text = "rm -rf /", .len = 8}};
    arena_reset(&arena);
    ck_assert_int_eq(shell_parse_argv(words, 3, &CONTEXT, &arena, &script), 0);
    same_commands("argv", "bash -lc 'rm -rf /' ; bash -c: rm -rf /");
}
END_TEST

START_TEST(nothing_known)
{
    static const struct shell_context none = {0};
    arena_reset(&arena);
    ck_assert_int_eq(shell_parse("cd x; a ~ $HOME; cd; b", 22, &none, &arena, &script), 0);
    same_commands("", "cd x ; a ~ ? ; cd ; b");
    ck_assert_ptr_null(script.commands[3].cwd);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_unchecked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, lists);
    tcase_add_test(tc, compound_commands);
    tcase_add_test(tc, quoting);
    tcase_add_test(tc, expansions);
    tcase_add_test(tc, braces);
    tcase_add_test(tc, substitutions);
    tcase_add_test(tc, redirections);
    tcase_add_test(tc, here_documents);
    tcase_add_test(tc, wrappers);
    tcase_add_test(tc, find_and_xargs);
    tcase_add_test(tc, code);
    tcase_add_test(tc, disguises);
    tcase_add_test(tc, only_mentioned);
    tcase_add_test(tc, folders);
    tcase_add_test(tc, feeding);
    tcase_add_test(tc, places);
    tcase_add_test(tc, problems);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, no_text_is_slow);
    tcase_add_test(tc, argument_vectors);
    tcase_add_test(tc, nothing_known);
}

UNIT_MAIN("shell_words", add_tests)
