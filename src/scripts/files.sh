# Lists the files that differ between two commits. Run by the build user in a container in which nothing of the repository was run.
# Arguments: $1 and $2 are the commits (or, for the first, the empty tree), $3 the most bytes that are printed, the rest are paths that
#   are listed before all others.
# Prints: what git-diff(1) calls the raw output format, with NULs; cut where it is too much. change.rs takes it.
# Exit code: git's, unless it was cut.

from=$1 to=$2 most=$3
shift 3
cd /build/repo || exit
list() {
    # A .gitmodules may ask for submodules to be left out.
    git --no-replace-objects diff --raw -z --no-renames --abbrev=40 --ignore-submodules=none "$from" "$to" -- "$@"
}
{
    list "${@/#/:(top,literal)}" && list . "${@/#/:(top,exclude,literal)}"
} | head -c "$most"
code=${PIPESTATUS[0]}
# Nobody reads what is behind the cut (SIGPIPE).
((code != 141)) || code=0
exit "$code"
