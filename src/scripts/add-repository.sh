# Makes a pacman repository known to pacman: its database is fetched anew, then it stands last in pacman.conf, so that
# nothing in it takes the place of an official package. Other databases stay as they are. Run by root in a build's
# container.
# Arguments: $1 is the repository, $2 its URL for this architecture.
# Prints: nothing that is read; pacman's words, or why it is not done.
# Exit code: 0 if pacman knows it now; anything else if it doesn't, and the build goes on without it.

set -e
conf=/etc/pacman.d/vieter.conf
if [[ -f $conf ]]; then
    # It is there from an earlier try.
    exec pacman --config "$conf" -Sy
fi
if pacman-conf --repo-list | grep -qxF -- "$1"; then
    echo "pacman.conf has a repository $1 already"
    exit 1
fi
mkdir -p /etc/pacman.d
# It is taken from whoever has it; the keys that others' packages in it may be signed with aren't in a build's keyring.
printf '[%s]\nServer = %s\nSigLevel = Never\n' "$1" "$2" >"$conf"
pacman --config "$conf" -Sy
printf '\nInclude = %s\n' "$conf" >>/etc/pacman.conf
