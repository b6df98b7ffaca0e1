# Completion of manage.py, and of 'python manage.py', in fish.
# To have it in every shell: python manage.py completion fish >> ~/.config/fish/config.fish

function __nextstage_has_answers
    set -l typed (commandline -opc)
    set -l program $typed[1]
    if not string match -q -r '(^|/)manage\.py$' -- $typed[1]
        # Another script's arguments, or Python's own, are none of our business.
        string match -q -r '(^|/)manage\.py$' -- "$typed[2]"; or return 1
        set -a program $typed[2]
        set -e typed[1]
    end
    set -l words (string escape -- $typed) (commandline -ct)
    set -g __nextstage_answers (
        env _TYPER_COMPLETE_ARGS="$words" _TYPER_COMPLETE_FISH_ACTION=get-args _NEXTSTAGE_COMPLETE=complete_fish \
            (string replace -r '^~' $HOME -- $program) 2>/dev/null
    )
    test (count $__nextstage_answers) -gt 0
end

for command in manage.py python python3
    complete -c $command -n __nextstage_has_answers -f -a '$__nextstage_answers'
end
