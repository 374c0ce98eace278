# Looks for dependencies that no installed package satisfies. Run by the build user.
# Arguments: dependencies, as PKGBUILDs name them.
# Prints: those that are missing, one a line; depends.rs takes them.
# Exit code: 0, whether there are any or none; pacman's if it fails, which says 127 when there are any.

pacman -T -- "$@" || (($? == 127))
