# Has makepkg refuse a version of pkgver()'s that isn't a plain word: it writes it into the PKGBUILD as it is, and bash reads that, so
# what an upstream calls a tag of its would be a command. Read by makepkg, as whoever runs it, as its last file in lint_pkgbuild, where
# set-up.sh puts it.
# Exit code: none; it changes what check_pkgver says, makepkg's own function.

declare -F makepkgs_check_pkgver >/dev/null || eval "makepkgs_$(declare -f check_pkgver)"
check_pkgver() {
    makepkgs_check_pkgver "$@" || return
    if [[ ${FUNCNAME[1]} == update_pkgver && $1 == *[!0-9A-Za-z.+_~^=,@%!]* ]]; then
        error 'pkgver is not allowed to contain what a shell takes for more than a word.'
        return 1
    fi
}
