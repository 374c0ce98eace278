# Makes the builder image's last changes. Run by root in the container that becomes the image, after pacman -Syu; once more
# after a later one.
# Arguments: $1 is the build user's uid, $2 the text of a file with settings for makepkg, $3 that of check-pkgver.sh.
# Prints: the architecture that makepkg builds for (CARCH); image.rs takes it.
# Exit code: 0 when all of it is done, and makepkg can read its settings.

# The build user has that uid even if it is somebody's already, and an empty home.
userdel builder >&2
groupdel builder >&2
rm -rf /build
set -e
groupadd --non-unique --gid "$1" builder
useradd --non-unique --uid "$1" --gid builder --home-dir /build --no-create-home --shell /bin/bash builder
install -d -o builder -g builder /build /build/packages

# What the first process of a build's container is (first.sh).
install -D -m 0111 /usr/bin/cat /usr/local/lib/vieter/cat

# makepkg reads a folder of settings from 6.1 on; an older one's makepkg.conf sources the file.
mkdir -p /etc/makepkg.conf.d
printf '%s\n' "$2" >/etc/makepkg.conf.d/vieter.conf
# One that says no version is taken for an older one: to read it twice does no harm.
version=$(makepkg --version | sed -n '1s/.*) //p')
if (($(vercmp "$version" 6.1) < 0)); then
    line='source /etc/makepkg.conf.d/vieter.conf'
    grep -qxF "$line" /etc/makepkg.conf || printf '\n%s\n' "$line" >>/etc/makepkg.conf
fi
printf '%s\n' "$3" >/usr/share/makepkg/lint_pkgbuild/zz-vieter.sh
# What was downloaded is installed.
rm -rf /var/cache/pacman/pkg/*

# As makepkg does, which gives up if one of them fails.
set +e
for conf in /etc/makepkg.conf /etc/makepkg.conf.d/*.conf; do
    # shellcheck disable=SC1090
    source "$conf" >&2 || {
        echo "makepkg can't read $conf" >&2
        exit 1
    }
done
printf '%s\n' "$CARCH"
