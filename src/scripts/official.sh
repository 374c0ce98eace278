# Asks pacman which names are official: a package or a group of the base image's own repositories, or something that
# one of them provides. Run by the checker in the workshop's container, whose databases are as new as the image.
# Arguments: $1 is the pacman repository that is published to, which isn't official even if the base image has it; the
#   rest are names.
# Prints: the names that are not official, one a line; inbox.rs takes them.
# Exit code: 0. If pacman fails for another reason, no name is printed, so that all of them count as official.

config=$(mktemp)
awk -v own="[$1]" '/^[[:space:]]*\[/ { is_own = $1 == own } !is_own' /etc/pacman.conf >"$config"
shift
if [[ -z $(pacman-conf --config "$config" --repo-list) ]]; then
    printf '%s\n' "$@"
    exit
fi
# It names each target that it doesn't find, and only then looks at those that it does.
pacman --config "$config" --noconfirm -Sddp -- "$@" 2>&1 >/dev/null |
    sed -n 's/^error: target not found: //p'
