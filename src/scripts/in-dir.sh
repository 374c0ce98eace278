# Runs a command where the PKGBUILD is. It goes there itself, as its user: the folder is a stranger's, who may have made a link of it, and
# an engine would follow that with its own rights. Run by the build user.
# Arguments: $1 is the folder, the rest is the command.
# Prints: what the command prints.
# Exit code: 1 if it can't go there; that of the command otherwise.

cd -- "$1" && shift && exec "$@"
