# Changes a pacman repository's database. Run by the checker in the workshop's container, in which no stranger's code ever ran, on
# archives that were checked: repo-add runs code that it finds in a .PKGINFO.
# Arguments: $1 is the inbox, with the database and its list of files as "database" and "files", empty if there are none; $2 the folder
#   for the new ones, repo.db.tar and repo.files.tar, which is made anew; then "add", and for each archive its path
#   and what it is called; or "remove", and names of packages.
# Prints: nothing that is read; pacman's words.
# Exit code: 0 when both are there.

set -e
rm -rf -- "$2"
mkdir -p -- "$2"/{db,files}
cd -- "$2"
# What is left where it is ended goes with the folder.
export TMPDIR=$2
[[ ! -s $1/database ]] || bsdtar -xf "$1/database" -C db
[[ ! -s $1/files ]] || bsdtar -xf "$1/files" -C files
# A run that was killed between the two has left entries in the list of files alone. repo-add would put new ones into them.
for entry in files/*; do
    [[ -d db/${entry#files/} ]] || rm -rf -- "$entry"
done
for kind in db files; do
    find "$kind" -mindepth 1 -maxdepth 1 -printf '%f\n' | bsdtar -cf "repo.$kind.tar" -C "$kind" -T -
    rm -r "$kind"
done
what=$3
shift 3
if [[ $what == remove ]]; then
    exec repo-remove repo.db.tar "$@"
fi
archives=()
while (($#)); do
    ln -s -- "$1" "$2"
    archives+=("./$2")
    shift 2
done
exec repo-add repo.db.tar "${archives[@]}"
