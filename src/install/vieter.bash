# Completion for bash. Flags, and what kind of value each takes, are what `vieter --help` says.

_vieter() {
    local cur=$2 before=$3 help flags takes=
    help=$("$1" --help 2>/dev/null) || return
    # bash takes --into=DIR for three words.
    if [[ $before == -* && $cur == = ]]; then
        cur=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    [[ $before != -* || ! $help =~ $'\n  '"$before "([A-Z]+) ]] || takes=${BASH_REMATCH[1]}

    COMPREPLY=()
    case $takes in
        DIR) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        FILE) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        LEVEL) mapfile -t COMPREPLY < <(compgen -W 'off error warn info debug trace' -- "$cur") ;;
        ?*) ;; # anybody's guess
        *)
            flags=$(sed -nE 's/^  (-., )?(--[^ ]+).*/\2/p' <<<"$help")
            [[ " ${COMP_WORDS[*]:0:COMP_CWORD} " == *' '@(build|check|review)' '* ]] || flags+=' build check review'
            mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
            ;;
    esac
}
complete -F _vieter vieter
