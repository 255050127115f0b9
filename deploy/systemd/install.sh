#!/bin/sh
# make install, make uninstall: ragd as a system service. Called by the Makefile, which sets the variables below.
#
# Each installation is a directory of its own under $PREFIX/releases, and $PREFIX/current names the one in use. So an
# upgrade that fails changes nothing, and a ragd that runs keeps its files until it is restarted.
set -eu
umask 022

: "${PREFIX:=/opt/ragd}"
: "${DESTDIR:=}"                    # for packagers: everything goes below it, nothing outside is touched
: "${SYSTEM_PYTHON:=/usr/bin/python3}"
: "${LOCK:=}"                       # another requirements.lock, for who builds the packages in it himself
: "${PURGE:=}"                      # uninstall: with the data and the settings

SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
LOCK=${LOCK:-$SOURCE/requirements.lock}
UNITS="ragd.service ragd-backup.service ragd-backup.timer"
ETC=$DESTDIR/etc/ragd
LOCAL=$DESTDIR/usr/local
DATA=/var/lib/ragd
RUNTIME=/run/ragd

fail() {
    echo "ragd: $1" >&2
    exit 1
}

systemd_runs() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

require_root() {
    [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || fail "this needs root: sudo make $1"
}

# It goes into the units, where a blank or a % would mean something else, and through sed.
require_plain_prefix() {
    case $PREFIX in
    / | [!/]* | *[!A-Za-z0-9._/-]*) fail "PREFIX=$PREFIX: must be an absolute path of letters, digits and . _ -" ;;
    esac
}

# The service's user must be able to execute it, which nobody can below /root and ProtectHome= forbids below /home.
require_system_python() {
    "$SYSTEM_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed at $SYSTEM_PYTHON, or name another: make install SYSTEM_PYTHON=..."
    case $(readlink -f "$(command -v "$SYSTEM_PYTHON")") in
    /root/* | /home/*) fail "$SYSTEM_PYTHON belongs to one user: name the system's, make install SYSTEM_PYTHON=..." ;;
    esac
}

install_release() {
    release=$PREFIX/releases/$(date -u +%Y%m%dT%H%M%SZ).$$
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/ragd-install.XXXXXX")
    trap 'rm -rf "$work" "$DESTDIR$release"' EXIT
    trap 'exit 1' INT TERM
    # built from a copy: what root builds in the checkout, its owner could not replace
    (cd "$SOURCE" && tar --exclude=__pycache__ --exclude='.all-*' -cf - ragd modelbuild deploy setup.cfg pyproject.toml \
        MANIFEST.in README.md LICENSE) | tar -C "$work" --no-same-owner -xf -
    "$SYSTEM_PYTHON" -m venv "$DESTDIR$release"
    # what ragd runs on: the very files that requirements.lock names; then ragd itself, which brings nothing more.
    # --use-pep517: Debian 12's pip cannot build some of them otherwise
    "$DESTDIR$release/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes \
        --requirement "$LOCK"
    "$DESTDIR$release/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$work"
    printf '%s\n' "# Makes this the system's installation (ragd/settings/files.py)." \
        "RAGD_DATA_DIR=$DATA" "RAGD_RUNTIME_DIR=$RUNTIME" >"$DESTDIR$release/share/ragd/system.env"
    [ -z "$DESTDIR" ] || sed -i "1s|^#!$DESTDIR|#!|" "$DESTDIR$release"/bin/*
}

install_settings() {
    install -d -m 0750 "$ETC"
    # both are made with their modes before anybody writes a secret into them, and never touched again
    [ -e "$ETC/discord_bot_token" ] || install -m 0600 /dev/null "$ETC/discord_bot_token"
    if [ ! -e "$ETC/ragd.env" ]; then
        "$DESTDIR$release/bin/python" -P -c 'from ragd.cli.control import main; main()' config --template >"$work/ragd.env"
        install -m 0640 "$work/ragd.env" "$ETC/ragd.env"
    fi
    [ -n "$DESTDIR" ] || chgrp ragd "$ETC" "$ETC/ragd.env"
}

install_units() {
    install -d "$LOCAL/lib/systemd/system" "$LOCAL/lib/systemd/system-preset" "$LOCAL/lib/sysusers.d"
    for unit in $UNITS; do
        sed "s|/opt/ragd/|$PREFIX/|g" "$SOURCE/deploy/systemd/$unit" >"$work/$unit"
        install -m 0644 "$work/$unit" "$LOCAL/lib/systemd/system/$unit"
    done
    install -m 0644 "$SOURCE/deploy/systemd/ragd.preset" "$LOCAL/lib/systemd/system-preset/50-ragd.preset"
    install -m 0644 "$SOURCE/deploy/systemd/ragd.sysusers" "$LOCAL/lib/sysusers.d/ragd.conf"
    [ -n "$DESTDIR" ] || systemd-sysusers "$LOCAL/lib/sysusers.d/ragd.conf"
}

switch_to_release() {
    ln -sfn "$release" "$DESTDIR$PREFIX/current.new"
    # before the switch: whoever is interrupted after it must not take away what is in use
    trap 'rm -rf "$work"' EXIT
    mv -T "$DESTDIR$PREFIX/current.new" "$DESTDIR$PREFIX/current"
    install -d "$LOCAL/bin"
    for program in ragd ragdctl; do
        ln -sfn "$PREFIX/current/bin/$program" "$LOCAL/bin/$program"
    done
}

# All but the one in use and those that something still runs from.
remove_old_releases() {
    for old in "$DESTDIR$PREFIX"/releases/*; do
        [ "$old" = "$DESTDIR$release" ] || grep -qs "$old/" /proc/[0-9]*/cmdline || rm -rf "$old"
    done
}

say_what_next() {
    echo "ragd: installed in $PREFIX"
    if [ -n "$DESTDIR" ]; then
        return
    elif systemd_runs && systemctl --quiet is-active ragd; then
        echo "ragd: the old version runs on until: systemctl restart ragd"
    else
        echo "ragd: next, write the bot's token to /etc/ragd/discord_bot_token, then"
        echo "ragd:   systemctl enable --now ragd ragd-backup.timer"
    fi
}

install_all() {
    require_plain_prefix
    require_root install
    require_system_python
    install_release
    install_units
    install_settings
    switch_to_release
    remove_old_releases
    ! systemd_runs || systemctl daemon-reload
    say_what_next
}

uninstall_all() {
    require_plain_prefix
    require_root uninstall
    # shellcheck disable=SC2086 - one word a unit
    ! systemd_runs || systemctl --quiet disable --now $UNITS 2>/dev/null || true
    for unit in $UNITS; do
        rm -f "$LOCAL/lib/systemd/system/$unit"
    done
    rm -f "$LOCAL/lib/systemd/system-preset/50-ragd.preset" "$LOCAL/lib/sysusers.d/ragd.conf"
    for program in ragd ragdctl; do
        case $(readlink "$LOCAL/bin/$program" || true) in
        "$PREFIX"/*) rm -f "$LOCAL/bin/$program" ;;
        esac
    done
    rm -rf "$DESTDIR$PREFIX/current" "$DESTDIR$PREFIX/releases"
    rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
    ! systemd_runs || systemctl daemon-reload
    if [ -n "$PURGE" ]; then
        rm -rf "$ETC" "$DESTDIR$DATA" "$DESTDIR/var/lib/systemd/timers/stamp-ragd-backup.timer"
        [ -n "$DESTDIR" ] || ! getent passwd ragd >/dev/null || userdel ragd
        echo "ragd: removed, with its data and settings"
    else
        echo "ragd: removed; data in $DATA and settings in /etc/ragd are kept (make uninstall PURGE=1 removes them)"
    fi
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "usage: $0 install|uninstall" ;;
esac
