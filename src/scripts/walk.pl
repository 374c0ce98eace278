# Walks through a tar, header by header, and lets nothing pass that two readers of tars may take for different things: which name a
# file has, where it ends, and where the archive does. What makepkg's bsdtar writes passes, but for files of 8 GiB and more, and names
# with line ends.
# Run by archives.sh, as the checker, with an archive that is unpacked already on its standard input. Prints nothing.
# Exit code: 0 if it is such a tar, and is there to its end; else anything, with why on the standard error.

use strict;
use warnings;
no warnings 'portable';

# The most bytes that it may have, and that may come before what is in its .PKGINFO: those who read packages may keep the beginning
# of large ones alone. And the most that an extended header may have (pax(1)), which says more of the next file.
use constant {MOST => 64 << 30, MOST_BEFORE => 64 << 20, MOST_EXTENDED => 64 << 10, PIECE => 1 << 20};
# What such a header may say: nothing of another size, above all.
my $KEYS = qr{^(path|linkpath|[ug]id|[ug]name|[amc]time|hdrcharset
    |LIBARCHIVE\.(creationtime|symlinktype|xattr\..+)|SCHILY\.(dev|ino|nlink|devmajor|devminor|fflags|acl\.\w+|xattr\..+)
    |RHT\.security\.selinux)\z}xs;
my $place = 0;

sub take {
    my ($count) = @_;
    my $bytes = '';
    while ((my $left = $count - length $bytes) > 0) {
        sysread STDIN, $bytes, $left, length $bytes or die "it ended early\n";
    }
    $place += $count;
    die "it has more than 64 GiB\n" if $place > MOST;
    return $bytes;
}

# Whether this may be taken for the name .PKGINFO. Of names with line ends, lists that are lines make others.
sub is_pkginfo {
    my ($name) = @_;
    die "a name in it has a line end\n" if $name =~ /[\0\n]/;
    return $name =~ m{^(\./*|/)*\.PKGINFO(/|\z)};
}

# What an extended header says: a length, a key and a value a record.
sub extended {
    my ($records) = @_;
    my %said;
    while ($records ne '') {
        # Some readers go no further than to a key that they can't read.
        $records =~ /^(\d{1,5}) ([^=\0-\x1f]+)=/ or die "an extended header of it can't be read\n";
        my ($length, $begin, $key) = ($1, $+[0], $2);
        my $record = substr $records, 0, $length, '';
        die "an extended header of it can't be read\n" if $length != length $record || $record !~ /\n\z/;
        die "an extended header of it has the key $key, or has it twice\n" if $key !~ $KEYS || exists $said{$key};
        $said{$key} = substr $record, $begin, -1;
        next unless $key =~ /^(link)?path\z/;
        die "an extended header of it names a .PKGINFO, or nothing\n" if is_pkginfo($said{$key}) || $said{$key} eq '';
    }
    return \%said;
}

my $said;
while ((my $header = take(512)) ne "\0" x 512) {
    my ($name, $size, $sum, $type, $link, $magic, $folders, $rest) = unpack 'a100 x24 a12 x12 a8 a1 a100 a8 x80 a155 a12', $header;
    my @numbers = unpack 'x100 a8 a8 a8 x12 a12 x181 a8 a8', $header;
    substr $header, 148, 8, ' ' x 8;
    my $is_ours = $magic eq "ustar\00000" && $sum =~ /^([0-7]{6})\0 \z/ && oct $1 == unpack '%32C*', $header;
    # Numbers that can't be read end the archive for some, and what is behind the name's folders makes another format of it.
    $is_ours &&= $rest !~ /[^\0]/ && !grep { !/^([0-7]+[\0 ]*|[\x80\xff].*)\z/s } @numbers;
    die "it isn't a tar of makepkg's\n" unless $is_ours && $size =~ s/^([0-7]{11})[\0 ]\z/$1/;
    # What begins with text may be taken for another kind of archive.
    die "it isn't a tar of makepkg's\n" if $place == 512 && $name !~ /^(\.|PaxHeader).*\0/s;
    $size = oct $size;
    s/\0.*//s for $name, $link, $folders;
    $name = "$folders/$name" if $folders ne '';
    die "a file of it has a header of the type $type\n" unless $type =~ /^[0-6x]\z/;
    die "what is no file of it has bytes\n" if $type =~ /^[1-6]\z/ && $size;
    # Some readers take its bytes for headers.
    die "a file of it is called as a folder is\n" if $type eq '0' && grep { m{/\z} } $name, $said->{path} // '';
    is_pkginfo($link);
    if (is_pkginfo($name)) {
        die "its .PKGINFO is too far behind its beginning\n" if $place + $size > MOST_BEFORE;
        die "its .PKGINFO is no file, or has two names\n" if $type ne '0' || exists $said->{path};
    }
    if ($type eq 'x') {
        die "an extended header of it is too large, or one follows another\n" if $said || $size > MOST_EXTENDED;
        $said = extended(take($size));
        $size = -$size % 512;
    } else {
        undef $said;
        $size += -$size % 512;
    }
    while ($size > 0) {
        $size -= length take($size < PIECE ? $size : PIECE);
    }
}
die "it ended early\n" if $said;
while (sysread STDIN, my $rest, PIECE) {
    die "there is more behind its end\n" if $rest =~ tr/\0//c;
}
