#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs `lab pages` for a CI job, from the checkout that this file is in; the job's directory is the current one.
#
# PAGELAB_COMMAND   the program and its arguments, as a shell reads them; with PAGELAB_CHECK the files to look at
# PAGELAB_CHECK     "true": look at files and boot nothing
# PAGELAB_PAGES     machines, names or globs in one line [all of the program's architecture]
# PAGELAB_KERNELS   kernels, each machine boots the first with its page size [baseline]
# PAGELAB_ROOT      what the program has as /: debian:SUITE+PACKAGE, a directory, a tar, an image [none]
# PAGELAB_VOLUMES   HOST:/GUEST, copied to the guest [none]
# PAGELAB_STORE     where kernels, userland and programs that were built come from [none]
# PAGELAB_ENTRIES   what is fetched from there before anything is asked for, KIND or KIND/DIGEST [none]
# PAGELAB_OUT       the directory of the answer: pages.txt, pages.json, pages-junit.xml, pages.html [pages]
set -eu
here=$(cd "$(dirname "$0")/../../.." && pwd)
lab=$here/.venv/bin/lab
out=${PAGELAB_OUT:-pages}
mkdir -p "$out"

if [ -n "${PAGELAB_STORE:-}" ]; then
    python=$here/.venv/bin/python
    "$python" -c 'import fsspec' 2>/dev/null || "$python" -m pip install --quiet --editable "${here}[store]"
    # shellcheck disable=SC2086 # a word each
    "$lab" cache pull key-facts ${PAGELAB_ENTRIES:-} --remote "$PAGELAB_STORE"
fi

case ${PAGELAB_CHECK:-false} in
true | false) ;;
*)
    echo "check: expected true or false, got $PAGELAB_CHECK" >&2
    exit 64
    ;;
esac
eval "set -- ${PAGELAB_COMMAND:?is empty}"
if [ "${PAGELAB_CHECK:-}" = true ]; then
    status=0
    "$lab" pages --check -o "$out" -- "$@" >/dev/null || status=$?
else
    set -- -- "$@"
    set -f
    for word in ${PAGELAB_VOLUMES:-}; do set -- -v "$word" "$@"; done
    [ -z "${PAGELAB_ROOT:-}" ] || set -- --root "$PAGELAB_ROOT" "$@"
    # The first kernel is tried first, so it has to come first on the command line.
    backwards=
    for word in ${PAGELAB_KERNELS:-}; do backwards="$word $backwards"; done
    for word in $backwards; do set -- -k "$word" "$@"; done
    for word in ${PAGELAB_PAGES:-}; do set -- -t "$word" "$@"; done
    status=0
    "$lab" pages -o "$out" "$@" || status=$?
fi
[ ! -f "$out/pages.txt" ] || cat "$out/pages.txt"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -f "$out/pages.txt" ]; then
    { echo '```'; cat "$out/pages.txt"; echo '```'; } >>"$GITHUB_STEP_SUMMARY"
fi
[ -z "${GITHUB_OUTPUT:-}" ] || echo "status=$status" >>"$GITHUB_OUTPUT"
exit "$status"
