# Looks into package archives. Run by the checker in the workshop's container, in which no stranger's code ever ran; but each
# byte in the archives is a stranger's.
# Arguments: $1 is the folder, $2 how many archives are in it: they are called 0, 1 and so on; $3 is walk.pl; $4 is anything if they are
#   to be summed up, too; $5 is a folder for them, packed anew for a server, which is made, or nothing if they stay as they are.
# Prints: of each archive the ending that its kind of packing has; how many bytes it has; the names in it that could be taken for its
#   .PKGINFO, a line each; what stands in the one that is called so; and its SHA-256, or nothing; each ended by a NUL. All is said of the
#   one that was packed anew, if it was. inbox.rs takes them.
# Exit code: 0 when all were looked at; anything else if one isn't what makepkg writes, or can't be read to its end.

cd -- "$1" || exit

# How an archive is packed: the ending that makepkg gives it, and what unpacks it once.
look_at() { # PLACE
    case $(head -c 4 -- "$1" | od -An -tx1 | tr -d ' ') in
        28b52ffd) kind=.zst unpack=zstd ;;
        1f8b*) kind=.gz unpack=gzip ;;
        1f9d*) kind=.Z unpack=gzip ;;
        fd377a58) kind=.xz unpack=xz ;;
        425a68*) kind=.bz2 unpack=bzip2 ;;
        04224d18) kind=.lz4 unpack=lz4 ;;
        894c5a4f) kind=.lzo unpack=lzop ;;
        4c5a4950) kind=.lz unpack=lzip ;;
        *) kind='' unpack='' ;;
    esac
}
plain() { # PLACE
    ${unpack:-cat} ${unpack:+-dcq} <"$1"
}

if [[ -n $5 ]]; then
    mkdir -- "$5" || exit
    all=0
    # As the builder's makepkg does: what that has packed by zstd comes out as it was.
    readarray -t pack < <(
        for conf in /etc/makepkg.conf /etc/makepkg.conf.d/*.conf; do
            # shellcheck disable=SC1090
            [[ ! -r $conf ]] || . "$conf" >&2
        done
        printf '%s\n' "${COMPRESSZST[@]:-zstd}"
    )
    [[ ${pack[*]} != zstd ]] || pack=(zstd -c -z -q -)
fi
for ((n = 0; n < $2; n++)); do
    look_at "$n"
    archive=./$n
    # bsdtar reads many formats, in layers of packing, and reads some tars otherwise than older ones do, which servers have: what all of
    # them read as it does is a tar in one layer, of headers that leave no choice.
    plain "$n" | perl -e "$3"
    [[ ${PIPESTATUS[*]} == '0 0' ]] || {
        echo "archive $n isn't what makepkg writes" >&2
        exit 1
    }
    # One that some programs unpack may be another to older ones, or none: what ours has packed is read by all.
    if [[ -n $5 ]]; then
        archive=$5/$n
        # Servers keep no more than the first 2 GiB.
        plain "$n" | "${pack[@]}" | head -c 2147483647 >"$archive"
        [[ ${PIPESTATUS[*]} == '0 0 0' ]] || {
            echo "archive $n, packed anew by ${pack[*]}, has over 2 GiB, or can't be" >&2
            exit 1
        }
        all=$((all + $(stat -c %s "$archive")))
        ((all <= 17179869184)) || {
            echo "the archives, packed anew by ${pack[*]}, have over 16 GiB" >&2
            exit 1
        }
        kind=.zst
    fi
    printf '%s\0' "$kind" "$(stat -c %s "$archive")"
    # Names with line ends are printed with escapes, on one line. What reads packages may take a name with a dot and slashes
    # around it for the same, and bsdtar itself takes those behind it, as of a folder. Longer names than a path can have keep pacman from
    # reading a database, so they are told as well. All names together may have 16 MiB.
    names=$(
        bsdtar -tf "$archive" | head -c 16777216 | awk 'length > 4096 || /^(\.\/*|\/)*\.PKGINFO(\/|$)/' | head -c 1000
        exit "${PIPESTATUS[0]}"
    ) || exit
    printf '%s\0' "$names"
    # A NUL would end the field, so something else that is refused stands for it. All of them together may have 1 MiB.
    # Whoever reads packages in a plainer locale may stop at a name that can't be said there, as at an end: one of that kind before the
    # .PKGINFO leaves a package without a name.
    LC_ALL=C bsdtar -nxOqf "$archive" .PKGINFO | head -c 1048576 | tr '\0' '\1'
    [[ ${PIPESTATUS[0]} == @(0|141) || $names != .PKGINFO ]] || {
        echo "archive $n has a name before its .PKGINFO that isn't plain" >&2
        exit 1
    }
    sum=
    [[ -z $4 ]] || sum=$(sha256sum <"$archive") || exit
    printf '\0%s\0' "${sum%% *}"
done
