# Walks through a tar, header by header, and lets nothing pass that two readers of tars may take for different things: which name a
# file has, where it ends, and where the archive does. What bsdtar writes for makepkg passes.
# Run by archives.sh, as the checker, with an archive that is unpacked already on its standard input. Prints nothing.
# Exit code: 0 if it is such a tar, and is there to its end; else anything, with why on the standard error.

use strict;
use warnings;

# The most bytes that it may have, and that may come before what is in its .PKGINFO: those who read packages may keep the beginning
# of large ones alone. And the most that a header may have that is for the next one.
use constant {MOST => 64 << 30, MOST_BEFORE => 64 << 20, MOST_EXTENDED => 64 << 10, PIECE => 1 << 20};
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

# Whether this may be taken for the name .PKGINFO.
sub is_pkginfo {
    my ($name) = @_;
    die "a name in it has control characters\n" if $name =~ /[\0-\x1f\x7f]/;
    return $name =~ m{^(\./*|/)*\.PKGINFO(/|\z)};
}

# What a header has for the next one (pax(1)): a length, a key and a value a record.
sub extended {
    my ($records) = @_;
    while ($records ne '') {
        $records =~ /^(\d{1,5}) ([^=\n]+)=/ or die "an extended header of it can't be read\n";
        my ($length, $begin, $key) = ($1, $+[0], $2);
        my $record = substr $records, 0, $length, '';
        die "an extended header of it can't be read\n" if $length != length $record || $length <= $begin || $record !~ /\n\z/;
        my $value = substr $record, $begin, -1;
        die "an extended header of it gives a size\n" if $key eq 'size';
        die "an extended header of it names a .PKGINFO\n" if $key =~ /^((link)?path|GNU\.sparse\.name)\z/ && is_pkginfo($value);
    }
}

my $is_extended = 0;
while ((my $header = take(512)) ne "\0" x 512) {
    my ($name, $size, $sum, $type, $link, $magic, $folders) = unpack 'a100 x24 a12 x12 a8 a1 a100 a8 x80 a155', $header;
    substr $header, 148, 8, ' ' x 8;
    my $is_ours = $magic eq "ustar\00000" && $sum =~ /^([0-7]{6})\0 \z/ && oct $1 == unpack '%32C*', $header;
    die "it isn't a tar of makepkg's\n" unless $is_ours && $size =~ s/^([0-7]{11})[\0 ]\z/$1/;
    # What begins with text may be taken for another kind of archive.
    die "it isn't a tar of makepkg's\n" if $place == 512 && $name !~ /^\..*\0/s;
    $size = oct $size;
    s/\0.*//s for $name, $link, $folders;
    $name = "$folders/$name" if $folders ne '';
    die "a file of it has a header of the type $type\n" unless $type =~ /^[0-6x]\z/;
    die "what is no file of it has bytes\n" if $type =~ /^[1-6]\z/ && $size;
    is_pkginfo($link);
    if (is_pkginfo($name)) {
        die "its .PKGINFO is too far behind its beginning\n" if $place + $size > MOST_BEFORE;
        die "its .PKGINFO is no file\n" if $type ne '0';
    }
    if ($type eq 'x') {
        die "an extended header of it is too large, or one follows another\n" if $is_extended || $size > MOST_EXTENDED;
        extended(take($size));
        $size = -$size % 512;
    }
    $is_extended = $type eq 'x';
    $size += -$size % 512 if $type eq '0';
    while ($size > 0) {
        $size -= length take($size < PIECE ? $size : PIECE);
    }
}
die "it ended early\n" if $is_extended;
while (sysread STDIN, my $rest, PIECE) {
    die "there is more behind its end\n" if $rest =~ tr/\0//c;
}
