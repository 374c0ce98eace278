# Makes a mirror the only one. Run by root in the workshop's container, before pacman is.
# Arguments: $1 is its URL, as in a mirrorlist.
# Prints: nothing that is read; why it is not done.
# Exit code: 0 when it is done.

if ! grep -qE '^[[:space:]]*Include[[:space:]]*=[[:space:]]*/etc/pacman.d/mirrorlist' /etc/pacman.conf; then
    echo "the base image's /etc/pacman.conf doesn't include /etc/pacman.d/mirrorlist" >&2
    exit 1
fi
printf 'Server = %s\n' "$1" >/etc/pacman.d/mirrorlist
