#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Set up a Debian machine for the lab: what is missing of its packages, then .venv. Called by the Makefile.
#
#   sh lab/bootstrap.sh [CAMPAIGN...]     campaigns whose architectures the machine must be able to build and emulate
#
# NEEDED_BY in the environment: a command, such as "make browser" or "--suite kselftest-mm", whose packages are installed
# too; lab/host/needs.py lists them.
#
# NO_COMPILERS=1: install the emulators of the campaigns' architectures and no compilers, for a host that takes what was
# built from a store (lab cache pull).
#
# Needs nothing but a shell, coreutils, apt and dpkg. Asks for root only when something is to be installed. When
# nothing is to be done it says nothing and takes a tenth of a second: .venv/.set-up remembers what .venv was made of.

set -eu
cd "$(dirname "$0")/.."
umask 022

python=/usr/bin/python3
stamp=.venv/.set-up

say() { printf '%s\n' "set-up: $*"; }
die() { printf '%s\n' "set-up: $*" >&2; exit 2; }

# apt-get without questions, as root.
apt_get() {
    set -- env DEBIAN_FRONTEND=noninteractive apt-get --quiet "$@"
    [ "$(id -u)" -eq 0 ] || set -- sudo "$@"
    "$@"
}

# Those of the given packages that are not installed.
missing_of() {
    [ $# -gt 0 ] || return 0
    present=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || :)
    for package in "$@"; do
        case "
$present
" in
            *"
$package installed
"*) ;;
            *) printf ' %s' "$package" ;;
        esac
    done
}

# install WHAT PACKAGE...: say that WHAT needs them, then do it.
install_packages() {
    for_what=$1
    shift
    say "$for_what needs Debian packages that are not installed ($#):"
    printf '%s ' "$@" | fold -s -w 100 | sed 's/^/    /; s/ *$//'
    printf '\n'
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 ||
            die "that needs root, and there is no sudo; as root: apt-get install --no-install-recommends $*"
        say "installing them with sudo"
    fi
    apt_get update || say "apt-get update failed in part; trying with the package lists that are there"
    apt_get install --yes --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" ||
        die "apt-get could not install the packages; its messages are above"
}

# ensure WHAT PACKAGE...: install those that are missing.
ensure_packages() {
    for_what=$1
    shift
    lacking=$(missing_of "$@")
    # shellcheck disable=SC2086
    [ -z "$lacking" ] || install_packages "$for_what" $lacking
}

# libvirt's embedded driver refuses to start as root when this user does not exist, whatever qemu.conf says.
add_libvirt_user() {
    [ "$(id -u)" -eq 0 ] || return 0
    getent passwd libvirt-qemu >/dev/null && return 0
    say "adding the system user libvirt-qemu, which libvirt needs when it runs as root"
    if getent group libvirt-qemu >/dev/null; then
        useradd --system --gid libvirt-qemu --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin libvirt-qemu
    else
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin libvirt-qemu
    fi
}

# Where a .venv is good: virtual environments hold absolute paths, so a moved checkout needs a new one.
venv_place() { printf '%s %s\n' "$PWD" "$(readlink -f "$python")"; }

# What it was made of.
venv_stamp() {
    venv_place
    cat lab/packages.txt lab/bootstrap.sh pyproject.toml | sha256sum
}

# A .venv that is a link is somebody else's: used as it is.
make_venv() {
    if [ -L .venv ] || { [ -x .venv/bin/lab ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(venv_stamp)" ]; }; then
        return
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is older than 3.11: the lab needs Debian 12 or later"
    if [ "$(head -n 1 "$stamp" 2>/dev/null)" != "$(venv_place)" ]; then
        say "making .venv with $python"
        rm -rf .venv
        "$python" -m venv .venv || die "no virtual environment could be made in $PWD/.venv"
    fi
    say "installing the lab and its Python libraries into .venv (about a minute)"
    PIP_USER=no PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --editable '.[test]' ||
        die "pip failed; its messages are above. Is there a way to the Python package index?"
    venv_stamp >"$stamp.new"
    mv -f "$stamp.new" "$stamp"
}

# remembered NAME FILES COMMAND ARGUMENT...: print what the command prints, which is run again only when the arguments
# or one of the files (words in one argument) have changed. A file that does not exist counts as empty.
remembered() {
    name=$1
    files=$2
    shift 2
    # shellcheck disable=SC2086
    key=$({ printf '%s\n' "$*"; cat "$stamp" $files; } 2>/dev/null | sha256sum | cut -c 1-20)
    if [ ! -f ".venv/.$name-$key" ]; then
        rm -f ".venv/.$name"-*
        "$@" >".venv/.$name.new"
        mv -f ".venv/.$name.new" ".venv/.$name-$key"
    fi
    cat ".venv/.$name-$key"
}

# The packages of the campaigns' architectures: asked of the lab once, and again when anything it reads has changed.
arch_packages() {
    own=
    for campaign in "$@"; do
        [ ! -f "$campaign" ] || own="$own $campaign"
    done
    remembered packages "lab/arch/*.py topologies/*.yaml topologies/campaigns/*.yaml images/kernels/*.yaml $own" \
        ask_arch_packages "compilers=${NO_COMPILERS:+no}" "$@"
}

ask_arch_packages() {
    .venv/bin/python - "$@" <<'EOF'
import sys

from lab.core.errors import LabError
from lab.host.doctor import arch_packages

try:
    sys.stdout.write("\n".join(arch_packages(sys.argv[2:], compilers=sys.argv[1] == "compilers=")))
except LabError as error:
    sys.exit(f"set-up: {error}")
EOF
}

ask_needed_packages() {
    .venv/bin/python - "$1" <<'EOF'
import sys

from lab.host.programs import packages_for

sys.stdout.write("\n".join(packages_for(sys.argv[1])))
EOF
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    die "this is no Debian: install what lab/packages.txt lists, make .venv, and run .venv/bin/lab doctor"
fi

# Names of packages hold no blanks: their lists are split on purpose.
# shellcheck disable=SC2046
ensure_packages "the lab" $(sed -e 's/#.*//' lab/packages.txt)
add_libvirt_user
make_venv
packages=$(arch_packages "$@")
# shellcheck disable=SC2086
ensure_packages "the campaign ($*)" $packages
if [ -n "${NEEDED_BY:-}" ]; then
    packages=$(remembered needed "lab/host/*.py" ask_needed_packages "$NEEDED_BY")
    # shellcheck disable=SC2086
    ensure_packages "$NEEDED_BY" $packages
fi
