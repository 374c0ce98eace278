# Gives the SHA-256 of package archives. Run by the checker in the lock's container.
# Arguments: $1 is the folder, $2 how many archives are in it: they are called 0, 1 and so on.
# Prints: a line of sha256sum's for each, in that order; inbox.rs takes them.
# Exit code: 0 when all were read.

cd -- "$1" || exit
seq 0 "$(($2 - 1))" | xargs -r sha256sum --
