# Shows what has changed between two commits, without running anything that either of them has or asks for. Run by the build user
# in a container in which nothing of the repository was run.
# Arguments: $1 and $2 are the commits (or, for the first, the empty tree), the rest are files.
# Prints: of each file what keeps it from being shown as it is ("binary", "large", "cut", or nothing), and the change, each ended by a
#   NUL; it ends early when there is too much. review/gather.rs takes them.
# Exit code: 0.

from=$1 to=$2
shift 2
cd /build/repo || exit
export LC_ALL=C GIT_NO_REPLACE_OBJECTS=1
# Of a change, and of a file that git has to compare, in bytes.
most=262144
large=16777216
total=0
for path; do
    ((total < 2 * most)) || break
    what=
    for side in "$from:$path" "$to:$path"; do
        size=$(git cat-file -s "$side" 2>/dev/null) || continue
        if ((size > large)); then
            what=large
        elif [[ ${path##*/} != PKGBUILD && $(git cat-file blob "$side" 2>/dev/null | tr -dc '\0' | head -c 1 | wc -c) != 0 ]]; then
            # Bash reads over a NUL, so a PKGBUILD is a text in any case.
            what=binary
        fi
    done
    text=
    if [[ -z $what ]]; then
        text=$(git diff --no-ext-diff --no-textconv --no-renames --no-color --submodule=short --ignore-submodules=none --src-prefix=a/ --dst-prefix=b/ \
            "$from" "$to" -- ":(top,literal)$path" | tr '\0' '\1' | head -c "$((most + 1))")
        if ((${#text} > most)); then
            what='cut'
            text=${text:0:most}
        fi
    fi
    printf '%s\0' "$what" "$text"
    total=$((total + ${#text}))
done
