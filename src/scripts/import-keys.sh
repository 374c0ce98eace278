# Imports the keys that a repository brings, then fetches those that are missing still. Run by the build user, in the
# folder of the PKGBUILD.
# Arguments: $1 holds the keyservers, separated by spaces; the rest are fingerprints.
# Prints: nothing that is read; gpg's words, and which key is on none of the keyservers.
# Exit code: 0 if at least one of the keys can be had. Which of them the sources need is for makepkg to know.

for file in keys/pgp/*.asc; do
    [[ ! -f $file ]] || gpg --batch --import "$file"
done
servers=$1
found=
shift
for key; do
    # Some keyservers give keys out that gpg can't use, and gpg takes that for a success: what counts is the keyring.
    # A keyserver has half a minute for an answer.
    for server in '' $servers; do
        [[ -z $server ]] || timeout 30 gpg --batch --keyserver "$server" --recv-keys -- "$key"
        gpg --batch --list-keys -- "$key" >/dev/null 2>&1 && found=yes && continue 2
    done
    echo "the key $key of validpgpkeys is not in keys/pgp, and on none of these keyservers: $servers"
done
[[ $found ]]
