# shellcheck shell=bash
# Completion of claudebench for bash (installed as bash-completion/completions/claudebench; or: source this file).
# The program itself says what could come next, so this knows nothing of commands and options.
# Words that others chose (ids of instances) are data: never expanded, and quoted when they are put on the line.

_claudebench()
{
    local current words=() i line reply status
    COMPREPLY=()

    # Readline has cut the line at = and : as well; these belong to the words.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        if ((${#words[@]})) && [[ ${COMP_WORDS[i]} == [=:]* || ${COMP_WORDS[i - 1]} == [=:] ]]; then
            words[-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
    current=${words[-1]-}

    reply=$("${COMP_WORDS[0]}" @complete "${words[@]}" 2>/dev/null)
    status=$?
    # What readline takes for the word begins behind the last = or :
    local cut=${current%"${current##*[=:]}"}
    while IFS= read -r line; do
        [[ -n $line ]] || continue
        line=${line%%$'\t'*}
        line=${line#"$cut"}
        [[ $line == *= ]] && compopt -o nospace 2>/dev/null
        [[ $line == *[!A-Za-z0-9_.,/=:@%+-]* ]] && printf -v line '%q' "$line"
        COMPREPLY+=("$line")
    done <<<"$reply"
    case $status in
    3)
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -f -- "${current#"$cut"}")
        ;;
    4)
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -c -- "$current")
        ;;
    esac
}

complete -F _claudebench claudebench
