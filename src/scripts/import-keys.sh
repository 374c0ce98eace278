# Imports the keys that a repository brings, then fetches those that are missing still. Run by the build user, in the
# folder of the PKGBUILD.
# Arguments: $1 holds the keyservers, separated by spaces (nothing: none is asked); the rest are fingerprints.
# Prints: the fingerprints of the keys that can't be had, one a line; keys.rs takes them.
# Exit code: 0. Which of the keys the sources need is for makepkg to know.

for file in keys/pgp/*.asc; do
    [[ ! -f $file ]] || gpg --batch --import "$file" >&2
done
servers=$1
shift
for key; do
    # Some keyservers give keys out that gpg can't use, and gpg takes that for a success: what counts is the keyring.
    # A keyserver has half a minute for an answer.
    for server in '' $servers; do
        [[ -z $server ]] || timeout 30 gpg --batch --keyserver "$server" --recv-keys -- "$key" >&2
        gpg --batch --list-keys -- "$key" >/dev/null 2>&1 && continue 2
    done
    printf '%s\n' "$key"
done
