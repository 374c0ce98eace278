# Looks into package archives. Run by the checker in the workshop's container, in which no stranger's code ever ran; but each
# byte in the archives is a stranger's.
# Arguments: $1 is the folder, $2 how many archives are in it: they are called 0, 1 and so on; $3 is anything if they are to be
#   summed up, too.
# Prints: of each archive the names in it that could be taken for its .PKGINFO, a line each; what stands in the one that is called
#   so; and the archive's SHA-256, or nothing; each ended by a NUL. inbox.rs takes them.
# Exit code: 0 when all were looked at; anything else if one isn't what makepkg writes, or can't be read to its end.

cd -- "$1" || exit

# Unpacks an archive once, by the program of its kind.
plain() { # PLACE
    local magic
    magic=$(head -c 4 -- "$1" | od -An -tx1 | tr -d ' ')
    case $magic in
        28b52ffd) zstd -dcq ;;
        1f8b* | 1f9d*) gzip -dcq ;;
        fd377a58) xz -dcq ;;
        425a68*) bzip2 -dcq ;;
        04224d18) lz4 -dcq ;;
        894c5a4f) lzop -dcq ;;
        4c5a4950) lzip -dcq ;;
        *) cat ;;
    esac <"$1"
}
# Whether it begins as makepkg's do: a name with a dot, ustar in the header, and its checksum. A NUL behind the name keeps out what would be
# taken for text with another archive in it.
is_tar() { # PLACE
    local LC_ALL=C header
    header=$(plain "$1" | head -c 262 | tr '\0\n' '\1\2')
    [[ ${header:0:1} == . && ${header:0:100} == *$'\1'* && ${header:257} == ustar ]] &&
        plain "$1" | head -c 512 | od -An -v -tu1 -w1 | awk '
            { sum += NR > 148 && NR <= 156 ? 32 : $1 }
            NR > 148 && NR <= 156 && $1 >= 48 && $1 < 56 { said = said * 8 + $1 - 48 }
            END { exit NR != 512 || said != sum }'
}

for ((n = 0; n < $2; n++)); do
    # bsdtar reads many formats, in layers of packing; the server reads a tar in one.
    is_tar "$n" || {
        echo "archive $n isn't a tar of makepkg's" >&2
        exit 1
    }
    # Names with line ends are printed with escapes, on one line. What reads packages may take a name with a dot and slashes
    # around it for the same, and bsdtar itself takes those behind it, as of a folder. Longer names than a path can have keep pacman from
    # reading a database, so they are told as well. All names together may have 16 MiB.
    names=$(
        bsdtar -tf "$n" | head -c 16777216 | awk 'length > 4096 || /^(\.\/*|\/)*\.PKGINFO(\/|$)/' | head -c 1000
        exit "${PIPESTATUS[0]}"
    ) || exit
    printf '%s\0' "$names"
    # A NUL would end the field, so something else that is refused stands for it. All of them together may have 1 MiB.
    # Whoever reads packages in a plainer locale may stop at a name that can't be said there, as at an end: one of that kind before the
    # .PKGINFO leaves a package without a name.
    LC_ALL=C bsdtar -nxOqf "$n" .PKGINFO | head -c 1048576 | tr '\0' '\1'
    [[ ${PIPESTATUS[0]} == @(0|141) || $names != .PKGINFO ]] || {
        echo "archive $n has a name before its .PKGINFO that isn't plain" >&2
        exit 1
    }
    sum=
    [[ -z $3 ]] || sum=$(sha256sum <"$n") || exit
    printf '\0%s\0' "${sum%% *}"
done
