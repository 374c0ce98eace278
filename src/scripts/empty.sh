# Makes the inbox anew, empty: a folder that only root can write to. Run by root in the workshop's container.
# Arguments: $1 is the folder; what else is named goes with what is in it.
# Prints: nothing.
# Exit code: 0 when it is there and empty.

rm -rf -- "$@" && install -d -m 755 -- "$1"
