# Runs a command and marks the end of what it prints. Once an exec has ended, engines close its output, and what is in the
# pipes still (two of 64 KiB, and the buffers between them) may be lost to who reads slowly: so 256 KiB of nothing stand behind
# the mark. What can be lost is nothing that anybody needs, and if more is, that is seen. Run by whoever the command is run by.
# Arguments: the command, and its own.
# Prints: what the command prints; then, unless that has failed, a NUL, "that was all" and another NUL, which container.rs
#   takes; then spaces.
# Exit code: the command's.

"$@" || exit
printf '\0that was all\0%262144s' ''
