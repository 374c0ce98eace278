# Brings a repository to /build/repo and reads its PKGBUILD: one exec, as each costs as much as either of the two.
# Run by the build user.
# Arguments: $1 is the folder of the PKGBUILD, $2 the text of read.sh, the rest the command that brings the repository.
# Prints: the commit (nothing if it isn't a Git repository), ended by a NUL; then what read.sh prints.
# Exit code: the command's, if it isn't 0; that of read.sh otherwise.

"${@:3}" >&2 || exit
printf '%s\0' "$(git -C /build/repo rev-parse HEAD 2>/dev/null)"
cd -- "$1" || exit
eval "$2"
