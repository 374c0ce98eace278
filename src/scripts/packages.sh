# Says what is installed, and what pacman knows of its mirrors. Run by root in the container that becomes the builder image, before and
# after an update.
# Arguments: none.
# Prints: the packages with their versions, and the sums of the databases; image.rs compares the two.
# Exit code: 0, or that of what can't be had.

pacman -Q && sha256sum /var/lib/pacman/sync/*
