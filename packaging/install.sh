#!/bin/bash
# Puts Farthing on this machine: programs, completions for shells, systemd unit, user, directories, example
# configuration.
#
#   cargo build --profile packaging --locked && packaging/install.sh
#
# Starts and enables nothing, changes nothing of Postfix, overwrites no configuration. Run as root.
# With DESTDIR set it only copies files there (for packages), without user, directories and systemd.
#
#   PREFIX   where programs go            /usr/local   (/usr for packages)
#   PROFILE  which build is taken         packaging    (release does too)
#   DESTDIR  root of what is written      the machine
set -euo pipefail

prefix=${PREFIX:-/usr/local}
destdir=${DESTDIR:-}
profile=${PROFILE:-packaging}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
built=${CARGO_TARGET_DIR:-$here/target}/$profile

say() { printf 'install.sh: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

for program in farthing farthingd; do
    [[ -x $built/$program ]] || die "$built/$program is not there; run: cargo build --profile $profile --locked"
done
[[ -n $destdir || $EUID -eq 0 ]] || die "run it as root, or set DESTDIR"

units=/etc/systemd/system sysusers=/etc/sysusers.d tmpfiles=/etc/tmpfiles.d
[[ $prefix == /usr ]] && units=/usr/lib/systemd/system sysusers=/usr/lib/sysusers.d tmpfiles=/usr/lib/tmpfiles.d

put() { install -D -m "$1" "$2" "$destdir$3" && say "$destdir$3"; }

put 0755 "$built/farthing" "$prefix/bin/farthing"
put 0755 "$built/farthingd" "$prefix/bin/farthingd"
put 0644 "$here/packaging/systemd/farthingd.service" "$units/farthingd.service"
put 0644 "$here/packaging/sysusers.d/farthing.conf" "$sysusers/farthing.conf"
put 0644 "$here/packaging/tmpfiles.d/farthing.conf" "$tmpfiles/farthing.conf"
put 0644 "$here/packaging/farthing.toml" "$prefix/share/doc/farthing/farthing.toml"
put 0644 "$here/README.md" "$prefix/share/doc/farthing/README.md"
for licence in LICENSE-MIT LICENSE-APACHE; do
    put 0644 "$here/$licence" "$prefix/share/doc/farthing/$licence"
done
complete() { "$built/farthing" completions "$1" | install -D -m 0644 /dev/stdin "$destdir$2" && say "$destdir$2"; }
complete bash "$prefix/share/bash-completion/completions/farthing"
complete zsh "$prefix/share/zsh/site-functions/_farthing"
complete fish "$prefix/share/fish/vendor_completions.d/farthing.fish"
if [[ -e $destdir/etc/farthing/farthing.toml ]]; then
    say "$destdir/etc/farthing/farthing.toml is there and stays as it is"
else
    put 0644 "$here/packaging/farthing.toml" /etc/farthing/farthing.toml
fi
[[ -z $destdir ]] || exit 0

if ! getent passwd farthing >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$sysusers/farthing.conf"
    else
        groupadd --system farthing
        useradd --system --gid farthing --home-dir /var/lib/farthing --shell /usr/sbin/nologin \
            --comment "Farthing, postage for e-mail" farthing
    fi
    say "made the user farthing"
fi
install -d -o farthing -g farthing -m 0750 /run/farthing
install -d -o farthing -g farthing -m 0700 /var/lib/farthing /var/lib/farthing/keys
if [[ -d /var/spool/postfix ]]; then
    # Inside Postfix's chroot; the group may pass through.
    install -d -o farthing -g farthing -m 0750 /var/spool/postfix/farthing
    say "made /var/spool/postfix/farthing for the socket"
fi
[[ ! -d /run/systemd/system ]] || systemctl daemon-reload
say "done; set domains and domain in /etc/farthing/farthing.toml, then run: farthingd --check"
