# Completion of manage.py, and of 'python manage.py', in zsh; after compinit.
# To have it in every shell: python manage.py completion zsh >> ~/.zshrc

_nextstage_manage() {
    local -a typed program
    typed=("${(@)words[1,CURRENT]}")
    program=("${typed[1]}")
    if [[ ${typed[1]:t} != manage.py ]]; then
        # Another script's arguments, or Python's own, are none of our business.
        if (( CURRENT < 3 )) || [[ ${typed[2]:t} != manage.py ]]; then
            if (( $+functions[_python] )); then _python; else _files; fi
            return
        fi
        program+=("${typed[2]}")
        shift typed
    fi
    eval "$(_TYPER_COMPLETE_ARGS="${typed[*]}" _NEXTSTAGE_COMPLETE=complete_zsh ${~program} 2>/dev/null)"
}

compdef _nextstage_manage manage.py python python3
