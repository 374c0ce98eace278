# Unpacks a database that is compressed. Run by the checker in the workshop's container.
# Arguments: $1 is the database, $2 where the tar stream goes that is in it.
# Prints: nothing.
# Exit code: 0 when it could be read to its end, and has less than 1 GiB.

set -o pipefail
rm -f -- "$2"
bsdcat -- "$1" | head -c 1G >"$2" || {
    echo "it can't be read, or is too large" >&2
    exit 1
}
