# Lists the package archives in PKGDEST. Run by the build user, in an exec of its own after makepkg's. Processes that the
# build left are that user's, too, and can write into what this prints: all of it is a stranger's word.
# Arguments: none.
# Prints: of each archive its file name, its size in bytes and its .PKGINFO, each ended by a NUL; archive.rs takes them.
# Exit code: 0 when all were listed.

cd /build/packages || exit
for file in *.pkg.tar*; do
    [[ $file =~ ^[[:graph:]]+\.pkg\.tar(\.[[:alnum:]]+)?$ && $file != *.sig ]] || continue
    [[ -f $file && ! -L $file ]] || continue
    printf '%s\0' "$file" "$(stat -c %s -- "$file")" "$(bsdtar -xOqf "./$file" .PKGINFO)"
done
