# Reads back which limits the engine has set on the container: some engines pass over those that they can't set, without a
# word. Run by root in the lock's container.
# Arguments: none.
# Prints: the most processes, and the most memory in bytes, a line each: a number, or something else if there is no limit or if
#   it can't be read; sandbox.rs takes them.
# Exit code: 0.

# Control groups of version 2 have one tree, those of version 1 a tree for each controller.
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
first() {
    cat "$@" 2>/dev/null | head -n 1
}
cd /sys/fs/cgroup || exit 0
printf '%s\n%s\n' "$(first "./$own/pids.max" pids.max pids/pids.max)" \
    "$(first "./$own/memory.max" memory.max memory/memory.limit_in_bytes)"
