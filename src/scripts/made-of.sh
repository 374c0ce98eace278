# Says which pacman and makepkg a builder image has. Run by the checker in the workshop's container.
# Arguments: none.
# Prints: a line of pacman's version, and a line of makepkg's; image.rs takes them.
# Exit code: 0.

pacman --version | grep -o 'Pacman v[^ ]*'
makepkg --version | head -n 1
