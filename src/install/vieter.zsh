#compdef vieter
# Completion for zsh. Flags, what they are for, and what kind of value each takes, are what `vieter --help` says.

local line
local -a match mbegin mend specs
for line in ${(f)"$(_call_program options $words[1] --help)"}; do
    # A flag, what it takes, and what it is for, up to its variable.
    [[ $line =~ '^  (-., )?(--[^ ]+) ?([^ ]*)  +(.*[^ ])' ]] || continue
    local flag=$match[2] takes=$match[3] what=${match[4]%% ##[A-Z]##_[A-Z_=yes]##}
    what=${what//(#m)[\[\]:]/\\$MATCH}
    case $takes in
        ('') specs+=("${flag}[$what]") ;;
        (DIR) specs+=("${flag}=[$what]:folder:_files -/") ;;
        (FILE) specs+=("${flag}=[$what]:file:_files") ;;
        (NAME=VALUE) specs+=("*${flag}=[$what]:$takes: ") ;;
        (LEVEL) specs+=("${flag}=[$what]:level:(off error warn info debug trace)") ;;
        (*) specs+=("${flag}=[$what]:$takes: ") ;;
    esac
done
_arguments $specs '1:command:(build check review)' '*:what:()'
