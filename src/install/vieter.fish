# Completion for fish. Flags, what they are for, and what kind of value each takes, are what `vieter --help` says.

complete -c vieter -f
complete -c vieter -n 'not __fish_seen_subcommand_from build check review' -a 'build check review'
for line in (vieter --help)
    # A flag, what it takes, and what it is for, up to its variable.
    set -l option (string match -r '^  (?:-., )?--(\S+) ?(\S*)  +(.*?)(?: +[A-Z]+_\S+)?$' -- $line)
    or continue
    set -l value
    switch $option[3]
        case ''
        case DIR
            set value -x -a '(__fish_complete_directories)'
        case FILE
            set value -r -F
        case LEVEL
            set value -x -a 'off error warn info debug trace'
        case '*'
            set value -x
    end
    complete -c vieter -l $option[2] -d $option[4] $value
end
