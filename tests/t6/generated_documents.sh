#!/bin/sh
# The sample configuration and the lists in the manual are what the tables say. When this fails:
# make update-docs.
set -u
top_srcdir=${TOP_SRCDIR:-.}
top_builddir=${TOP_BUILDDIR:-build}
print=$top_builddir/tools/print_tables
tmp=$(mktemp -d "${TMPDIR:-/tmp}/generated_documents.XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT

n=0
# result WHAT STATUS
result() {
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
    fi
}

# same WHAT FILE FILE: shows what differs.
same() {
    status=0
    diff -u "$2" "$3" >"$tmp/diff" || status=1
    sed 's/^/# /' "$tmp/diff"
    result "$1" $status
}

"$print" options-sample >"$tmp/sample" && [ -s "$tmp/sample" ]
result "the sample can be made" $?
same "etc/claudebench.yaml is current" "$top_srcdir/etc/claudebench.yaml" "$tmp/sample"

"$print" acl >"$tmp/acl" && [ -s "$tmp/acl" ]
result "the ACL file can be made" $?
same "etc/redis-claudebench.acl is current" "$top_srcdir/etc/redis-claudebench.acl" "$tmp/acl"

"$print" options-mdoc >"$tmp/mdoc" && [ -s "$tmp/mdoc" ]
result "the list for the manual can be made" $?
sh "$top_srcdir/tools/splice.sh" "$top_srcdir/man/claudebench.yaml.5" options-mdoc <"$tmp/mdoc" >"$tmp/page"
result "claudebench.yaml(5) has a place for it" $?
same "claudebench.yaml(5) is current" "$top_srcdir/man/claudebench.yaml.5" "$tmp/page"

for list in claudebenchd.8:events claudebenchd.8:faults claudebenchd.8:metrics claudebench-keys.7:keys claudebench-methods.7:methods; do
    page=${list%:*} name=${list#*:}-mdoc
    "$print" "$name" >"$tmp/mdoc" && [ -s "$tmp/mdoc" ]
    result "the list $name can be made" $?
    sh "$top_srcdir/tools/splice.sh" "$top_srcdir/man/$page" "$name" <"$tmp/mdoc" >"$tmp/page"
    result "$page has a place for it" $?
    same "$page is current" "$top_srcdir/man/$page" "$tmp/page"
done
"$print" nonsense 2>/dev/null
[ $? -eq 64 ]
result "an unknown document is refused" $?
echo "1..$n"
