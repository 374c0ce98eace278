# Makes the man page of Cargo.toml, which has the version, and of src/help.txt, which says the rest, with the page's date in `date`.
# A part of the help that isn't named here is an error, so that the page lacks nothing.

BEGIN {
    sections["Usage:"] = "SYNOPSIS"
    sections["WHAT"] = "DESCRIPTION"
    sections["Options."] = "OPTIONS"
    sections["Examples:"] = "EXAMPLES"
    sections["Exit"] = "EXIT STATUS"
}

function escaped(it) {
    gsub(/\\/, "\\e", it)
    gsub(/-/, "\\-", it)
    gsub(/~/, "\\(ti", it)
    return it
}

# roff wants short lines, and makes paragraphs of them again.
function words(it) {
    it = escaped(it)
    gsub(/[,;.] /, "&\n", it)
    gsub(/ \n/, "\n", it)
    return it
}

# What is typed as it stands is bold; what stands for something else, in capitals, is italic.
function typed(it) {
    it = escaped(it)
    gsub(/[A-Z][A-Z_]*/, "\\fI&\\fB", it)
    return "\\fB" it "\\fR"
}

FILENAME ~ /Cargo.toml$/ {
    if ($1 == "version") version = $3
    gsub(/"/, "", version)
    next
}

FNR == 1 {
    sub(/: /, " - ")
    printf ".TH VIETER 1 %s \"vieter %s\"\n.nh\n.ad l\n.SH NAME\n%s\n", date, version, words($0)
    next
}

# A part begins with a word at the start of a line, and ends with an empty line.
/^$/ { part = ""; next }
part == "" {
    part = sections[$1]
    if (part == "") {
        print "man.awk: what part of the help is this? " $0 >"/dev/stderr"
        exit failed = 1
    }
    print ".PD\n.SH " part
    sub(/^(Usage: |Options\. |Examples:|Exit codes: )/, "")
}

# An option's variable, at the end of its line.
match($0, / +[A-Z]+_[A-Z_]+(=yes)?$/) {
    variable = substr($0, RSTART, RLENGTH)
    sub(/^ +/, "", variable)
    $0 = substr($0, 1, RSTART - 1) " (" variable ")"
}

# What is explained, two spaces, the explanation; other lines are text, or go on with the last one's.
{
    sub(/^ +/, "")
    if (match($0, /   */)) {
        print ".TP " (part == "OPTIONS" ? 22 : 4) "\n" typed(substr($0, 1, RSTART - 1)) "\n.PD 0"
        $0 = substr($0, RSTART + RLENGTH)
    }
    if ($0 != "") print words($0)
}

END {
    if (failed) exit 1
    print ".PD\n.SH SEE ALSO\n.BR pacman (8),\n.BR pacman.conf (5),\n.BR makepkg (8),\n.BR repo\\-add (8)"
    print ".PP\n" words("The README, in share/doc/vieter: lists and folders, servers and engines, and what a build may do.")
}
