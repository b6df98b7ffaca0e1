# Completion of manage.py, and of 'python manage.py', in bash.
# To have it in every shell: python manage.py completion bash >> ~/.bashrc

_nextstage_manage() {
    local words=("${COMP_WORDS[@]}") cword=$COMP_CWORD program answer IFS=$'\n'
    program=("${words[0]}")
    if [[ ${words[0]##*/} != manage.py ]]; then
        # Another script's arguments, or Python's own, are none of our business: files are offered, as before.
        [[ $cword -ge 2 && ${words[1]##*/} == manage.py ]] || return 0
        program+=("${words[1]}")
        words=("${words[@]:1}")
        cword=$((cword - 1))
    fi
    COMPREPLY=()
    while read -r answer; do
        COMPREPLY+=("$answer")
    done < <(
        COMP_WORDS="${words[*]}" COMP_CWORD=$cword _NEXTSTAGE_COMPLETE=complete_bash "${program[@]/#\~/$HOME}" 2>/dev/null
    )
}

complete -o default -F _nextstage_manage manage.py python python3
