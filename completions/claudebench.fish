# Completion of claudebench for fish (installed in vendor_completions.d). The program itself says what could come next, so this knows
# nothing of commands and options.

function __claudebench_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] @complete $words[2..-1] "$current" 2>/dev/null)
    set -l code $status
    test (count $found) -gt 0; and printf '%s\n' $found
    switch $code
        case 3
            __fish_complete_path "$current"
        case 4
            __fish_complete_command
    end
end

complete -c claudebench -f -a '(__claudebench_complete)'
