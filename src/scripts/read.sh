# Reads makepkg.conf and the PKGBUILD of the working directory as makepkg does. Run by the build user; it sources a
# stranger's code, so whatever it prints is a stranger's word.
# Arguments: none.
# Prints: fields, each ended by a NUL, in the order in which pkgbuild.rs takes them: whether there is a pkgver() ("yes" or
#   nothing), whether the text has the word "replaces" (likewise), pkgbase, epoch, pkgver, pkgrel, the number of pkgnames,
#   the pkgnames, the number of validpgpkeys, the validpgpkeys, the number of sources (none without a pkgver()), the
#   sources, and then all kinds of dependencies. What the PKGBUILD itself
#   prints goes to the standard error.
# Exit code: 0 when the PKGBUILD was read.

set --
for conf in /etc/makepkg.conf /etc/makepkg.conf.d/*.conf; do
    # shellcheck disable=SC1090
    [[ ! -r $conf ]] || source "$conf" >&2
done
fail() {
    printf '%s\n' "$1" >&2
    exit 1
}
cd -P . || exit
[[ $PWD/ == /build/repo/* ]] || fail 'the path leads out of the repository'
[[ -f PKGBUILD ]] || fail 'there is no PKGBUILD'
unset -f fail
# makepkg's name for the folder, which PKGBUILDs use.
# shellcheck disable=SC2034
startdir=$PWD
# shellcheck disable=SC1091
source ./PKGBUILD >&2 || exit 1
declare -F pkgver >/dev/null && has_pkgver=yes || has_pkgver=
[[ $(<PKGBUILD) == *replaces* ]] && may_replace=yes || may_replace=
# All of these are the PKGBUILD's.
# shellcheck disable=SC2154
printf '%s\0' "$has_pkgver" "$may_replace" "${pkgbase:-${pkgname[0]}}" "$epoch" "$pkgver" "$pkgrel" \
    "${#pkgname[@]}" "${pkgname[@]}" "${#validpgpkeys[@]}" "${validpgpkeys[@]}"
# Only a pkgver() makes a version of them.
_list="source_${CARCH}[@]"
_sources=("${source[@]}" "${!_list}")
[[ $has_pkgver ]] || _sources=()
printf '%s\0' "${#_sources[@]}" "${_sources[@]}"
# makepkg takes these for those of a check().
_lists=(depends makedepends)
declare -F check >/dev/null && _lists+=(checkdepends)
for _list in "${_lists[@]}" "${_lists[@]/%/_$CARCH}"; do
    _list+='[@]'
    printf '%s\0' "${!_list}"
done
