# Looks up whose packages are in a repository's database. Run by the checker in the lock's container.
# Arguments: $1 is the database, the rest are package names.
# Prints: of each of the packages that the database has its name, its pkgbase and its version, a line each; inbox.rs takes them.
# Exit code: 0 when the database could be read to its end.

database=$1
shift
bsdtar -xOf "$database" '*/desc' | awk -v wanted=" $* " '
    function say() {
        if (name != "" && index(wanted, " " name " ")) print name, base == "" ? name : base, version
        name = base = version = ""
    }
    /^%FILENAME%$/ { say() }
    /^%/ { field = $0; next }
    field == "%NAME%" && NF { name = $0 }
    field == "%BASE%" && NF { base = $0 }
    field == "%VERSION%" && NF { version = $0 }
    END { say() }
'
exit "${PIPESTATUS[0]}"
