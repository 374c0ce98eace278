# Asks pacman which archives of a repository it would take to install packages. Run by root in a build's container.
# Arguments: $1 is the repository, the rest are packages, as dependencies name them.
# Prints: what the archives are called, one a line; folder.rs takes them.
# Exit code: 0. If pacman can't install them, it says so when it has to.

repo=$1
shift
pacman -Sp --needed --noconfirm --print-format '%r %f' -- "$@" 2>/dev/null |
    awk -v repo="$repo" '$1 == repo { print $2 }'
