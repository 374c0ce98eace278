# Brings a repository to /build/repo and reads its PKGBUILD: one exec, as each costs as much as either of the two. Where a commit
# is approved, that one is read, byte for byte: neither attributes nor replacements make another file of it. Run by the build user.
# Arguments: $1 is the folder of the PKGBUILD, $2 the text of read.sh, $3 the repository's URL, $4 its branch (nothing for
#   the default one), $5 what is at the URL: "git" for a Git repository, "pkgbuild" for a PKGBUILD to download; $6 what is
#   wanted: "tip", the newest commit; "approved", the approved one; "decide", that one, but only if it is the newest, too; "objects",
#   no files at all; $7 the approved commit, or the SHA-256 of a PKGBUILD (nothing if there is none), $8 a newest commit of which it
#   is known how many there are since the approved one. It may be run again, after "decide".
# Prints: fields, each ended by a NUL: the commit that is wanted (nothing if it isn't there, or if it isn't a Git repository and
#   nothing is approved), the newest one (nothing if there is none, or if it is to be
#   decided and isn't as git shows it), how many there are between them (nothing if that is known, or can't be); then, unless it has
#   ended there, what read.sh prints. bring.rs takes them.
# Exit code: that of git or curl, if it isn't 0; that of read.sh otherwise.

# The first time; no files yet if an approved commit's are wanted.
clone() {
    # Without the sample hooks, which take a tenth of the time.
    local clone=(git clone --template= --single-branch ${branch:+"--branch=$branch"})
    [[ $wanted == tip ]] || clone+=(--no-checkout)
    if ! "${clone[@]}" --depth 1 -- "$url" "$repo" 2>/build/clone.log; then
        cat /build/clone.log >&2
        # A server that only has files (the dumb protocol) can't give a part of the history.
        grep -q 'dumb http transport does not support shallow' /build/clone.log || exit 128
        "${clone[@]}" -- "$url" "$repo" >&2 || exit
    fi
}

is_shallow() {
    [[ $(git rev-parse --is-shallow-repository) == true ]]
}

# Whether the approved commit is there, and is that one: no name of a branch, no tag.
has_approved() {
    [[ $(git rev-parse --verify --quiet "$approved^{commit}") == "$approved" ]]
}

# By its id, which protocol 2 allows; otherwise with the history of all branches.
fetch_approved() {
    git fetch --quiet --depth 1 --no-tags --no-recurse-submodules origin "$approved" >&2 && return
    local unshallow=()
    ! is_shallow || unshallow=(--unshallow)
    git fetch --quiet "${unshallow[@]}" --no-tags --no-recurse-submodules origin '+refs/heads/*:refs/remotes/origin/*' >&2
}

# How many commits the branch has that the approved one hasn't. That needs the commits, and nothing of what is in them, and is worth two
# minutes of the repository's time.
count_commits() {
    local history=$repo
    if is_shallow; then
        history=/build/history
        timeout 60 git clone --quiet --bare --template= --single-branch ${branch:+"--branch=$branch"} --filter=tree:0 -- "$url" "$history" >&2 || return
        timeout 60 git -C "$history" fetch --quiet --no-tags origin "$approved" >&2
    fi
    GIT_NO_LAZY_FETCH=1 git -C "$history" rev-list --count "$approved..$tip"
}

# Whether git shows of a commit what it checks out of it. Of a tree that somebody has made by hand, with a name that stands in it twice,
# or out of order, or has a slash, or with an empty folder, it may show the one file, or none, and check out the other. It is as git
# makes one if git makes the same of all files in it. What isn't there isn't shown.
is_as_shown() {
    [[ $1 ]] || return 0
    local index=.git/shown
    rm -f "$index"
    git ls-tree -rz --full-tree "$1" | GIT_INDEX_FILE=$index git update-index -z --index-info >&2 &&
        [[ $(GIT_INDEX_FILE=$index git write-tree) == "$(git rev-parse "$1^{tree}")" ]] && return
    echo "the commit $1 isn't one that git makes: a name stands in it twice, or out of order, or is no name" >&2
    return 1
}

# The approved files. What bash is going to read is what the commit has: a file, and no link to what a server has said meanwhile.
check_out() {
    is_as_shown "$commit" || exit
    git reset --quiet --hard "$commit" >&2 || exit
    [[ -f $dir/PKGBUILD && ! -L $dir/PKGBUILD ]] &&
        [[ $(git hash-object --no-filters -- "$dir/PKGBUILD") == $(git -C "$dir" rev-parse "$commit:./PKGBUILD") ]] && return
    echo "the PKGBUILD isn't the file that was approved" >&2
    exit 1
}

bring() {
    local dir=$1 url=$3 branch=$4 kind=$5 wanted=$6 approved=$7 counted=$8 repo=/build/repo tip='' commit='' count=''
    if [[ $kind == pkgbuild ]]; then
        [[ -e $repo/PKGBUILD ]] ||
            curl -gfsSL --proto =http,https --create-dirs -o "$repo/PKGBUILD" -- "$url" >&2 || exit
        if [[ $wanted != tip ]]; then
            tip=$(sha256sum <"$repo/PKGBUILD")
            tip=${tip%% *}
        fi
        [[ ${approved:-$tip} != "$tip" ]] || commit=$tip
    else
        [[ -d $repo ]] || clone
        cd "$repo" || exit
        tip=$(git rev-parse --verify --quiet HEAD)
        commit=$tip
        if [[ $wanted != tip ]]; then
            mkdir -p .git/info
            echo '* diff !text !crlf !eol !ident !filter !working-tree-encoding' >.git/info/attributes
        fi
        if [[ $approved && $approved != "$tip" ]]; then
            has_approved || fetch_approved || exit
            has_approved && commit=$approved || commit=
            [[ -z $commit || $tip == "$counted" ]] || count=$(count_commits)
        fi
    fi
    case $kind:$wanted in
        # Somebody is going to read both.
        git:objects) { is_as_shown "$tip" && is_as_shown "$commit"; } || exit ;;
        # A newest one that isn't is no update.
        git:decide) is_as_shown "$tip" || tip= ;;
    esac
    # Nothing to read: it isn't there, or there is something to decide.
    [[ $wanted == tip || $commit ]] || wanted=objects
    [[ $wanted != decide || $commit == "$tip" ]] || wanted=objects
    [[ $kind != git || $wanted == @(tip|objects) ]] || check_out
    printf '%s\0' "$commit" "$tip" "$count"
    [[ $wanted != objects ]] || exit 0
}

export GIT_ALLOW_PROTOCOL=https:http:git:ssh GIT_NO_REPLACE_OBJECTS=1
bring "$@"
unset GIT_ALLOW_PROTOCOL GIT_NO_REPLACE_OBJECTS
unset -f bring clone is_shallow has_approved fetch_approved count_commits is_as_shown check_out
cd -- "$1" || exit
eval "$2"
