# Runs makepkg as Arch's own builds do. Run by the build user, in the folder of the PKGBUILD.
# The one place where a shell stands between us and makepkg: only a shell can set a soft file limit (with the engines'
# 2^30, fakeroot takes minutes; a hard limit would be refused) and ask the container for its cores.
# Arguments: makepkg's, as they are.
# Prints: nothing that is read; makepkg's words.
# Exit code: makepkg's.

# The same commit gives the same archive, as far as its own build allows: what is in it has the commit's time, unless that is in
# the future. A PKGBUILD that was downloaded has no commit.
time=$(git log -1 --format=%ct 2>/dev/null)
if [[ -n $time ]] && ((time <= EPOCHSECONDS)); then
    export SOURCE_DATE_EPOCH=$time
fi
ulimit -Sn 1024
MAKEFLAGS="-j$(nproc)" makepkg "$@"
code=$?
# What it has left running would go on changing what is looked at next.
kill -KILL -1 2>/dev/null
exit "$code"
