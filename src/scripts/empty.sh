# Makes the inbox anew, empty: a folder that only root can write to. Run by root in the workshop's container.
# Arguments: $1 is the folder; what else is named goes with what is in it.
# Prints: nothing.
# Exit code: 0 when it is there and empty.

# What is being written while it is removed goes the second time.
{ rm -rf -- "$@" || rm -rf -- "$@"; } && install -d -m 755 -- "$1"
