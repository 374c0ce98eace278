# Looks into package archives. Run by the checker in the workshop's container, in which no stranger's code ever ran; but each
# byte in the archives is a stranger's.
# Arguments: $1 is the folder, $2 how many archives are in it: they are called 0, 1 and so on; $3 is anything if they are to be
#   summed up, too.
# Prints: of each archive the names in it that could be taken for its .PKGINFO, a line each; what stands in the one that is called
#   so; and the archive's SHA-256, or nothing; each ended by a NUL. inbox.rs takes them.
# Exit code: 0 when all were looked at; anything else if one isn't what makepkg writes, or can't be read to its end.

cd -- "$1" || exit
for ((n = 0; n < $2; n++)); do
    # bsdtar reads many formats, the server and pacman read tar: what begins with another format's magic is none. The first
    # name that makepkg writes is one with a dot, and the header says ustar.
    first=$(bsdcat -- "$n" | head -c 1 | tr '\0' ' ')
    magic=$(bsdcat -- "$n" | head -c 262 | tail -c 5 | tr '\0' ' ')
    [[ $first$magic == .ustar ]] || {
        echo "archive $n isn't a tar of makepkg's" >&2
        exit 1
    }
    # Names with line ends are printed with escapes, on one line. What reads packages may take a name with a dot and slashes
    # around it for the same, and bsdtar itself takes those behind it, as of a folder.
    names=$(
        bsdtar -tf "$n" | grep -E '^(\./*|/)*\.PKGINFO(/|$)' | head -c 1000
        exit "${PIPESTATUS[0]}"
    ) || exit
    printf '%s\0' "$names"
    # A NUL would end the field, so something else that is refused stands for it. All of them together may have 1 MiB.
    bsdtar -nxOqf "$n" .PKGINFO | head -c 1048576 | tr '\0' '\1'
    sum=
    [[ -z $3 ]] || sum=$(sha256sum <"$n") || exit
    printf '\0%s\0' "${sum%% *}"
done
