# Looks into package archives. Run by the checker in the lock's container, in which no stranger's code ever ran; but each
# byte in the archives is a stranger's.
# Arguments: $1 is the folder, $2 how many archives are in it: they are called 0, 1 and so on.
# Prints: of each archive how many .PKGINFOs it has and what stands in the first, each ended by a NUL; inbox.rs takes them.
# Exit code: 0 when all were looked at; anything else if one can't be read to its end.

cd -- "$1" || exit
for ((n = 0; n < $2; n++)); do
    # Names with line ends are printed with escapes, on one line. What reads packages may take a name that has a dot and
    # slashes before it for the same.
    count=$(
        bsdtar -tf "$n" | grep -cE '^(\./*|/)*\.PKGINFO/*$'
        exit "${PIPESTATUS[0]}"
    ) || exit
    printf '%s\0' "$count"
    # A NUL would end the field, so something else that is refused stands for it. All of
    # them together may have 1 MiB.
    bsdtar -xOqf "$n" .PKGINFO | head -c 1048576 | tr '\0' '\1'
    printf '\0'
done
