# Brings a repository to /build/repo and reads its PKGBUILD: one exec, as each costs as much as either of the two.
# Run by the build user.
# Arguments: $1 is the folder of the PKGBUILD, $2 the text of read.sh, $3 the repository's URL, $4 its branch (nothing for
#   the default one), $5 what is at the URL: "git" for a Git repository, "pkgbuild" for a PKGBUILD to download.
# Prints: the commit (nothing if it isn't a Git repository), ended by a NUL; then what read.sh prints.
# Exit code: that of git or curl, if it isn't 0; that of read.sh otherwise.

if [[ $5 == pkgbuild ]]; then
    curl -gfsSL --proto =http,https --create-dirs -o /build/repo/PKGBUILD -- "$3" >&2 || exit
else
    export GIT_ALLOW_PROTOCOL=https:http:git:ssh
    # Without the sample hooks, which take a tenth of the time.
    clone=(git clone --template= --single-branch ${4:+"--branch=$4"})
    if ! "${clone[@]}" --depth 1 -- "$3" /build/repo 2>/build/clone.log; then
        cat /build/clone.log >&2
        # A server that only has files (the dumb protocol) can't give a part of the history.
        grep -q 'dumb http transport does not support shallow' /build/clone.log || exit 128
        "${clone[@]}" -- "$3" /build/repo >&2 || exit
    fi
    unset GIT_ALLOW_PROTOCOL
fi
printf '%s\0' "$(git -C /build/repo rev-parse HEAD 2>/dev/null)"
cd -- "$1" || exit
eval "$2"
