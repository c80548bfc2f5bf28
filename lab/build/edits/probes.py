# SPDX-License-Identifier: GPL-2.0-or-later
"""Answer what kbuild's makefiles ask the compiler, as it answered when make last walked over a build directory.

Whenever make reads the makefiles of a kernel, they try some thirty options (`cc-option`), each with a compiler of its
own, one after the other. A build after a small edit would spend a tenth of its CPU time on that. The answers depend on
the compiler and the configuration, which are those that the objects there were compiled with.

So a script of the compiler's name stands before it in PATH. While make walks, it passes everything on to the compiler
and notes how each attempt at an empty file ended. A make that does not walk gets these answers; what is in no note is
passed on. Where there are no answers, as after a compiler of another version, it notes them itself. An answer that was
wrong when it was noted, as without room for a temporary file, is the one that the objects were compiled by.
"""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.core.cache import write_atomic

ANSWERS, NOTES = "PROBE_ANSWERS", "PROBE_NOTES"
"""Variables of the script: the file with the answers, and the directory for notes; either may be missing."""
_SCRIPT = """\
#!/bin/sh
# Written by lab/build/edits/probes.py.
PATH=${PATH#*:}
name=${0##*/}
asked=$*
case $asked in
*" -c -x c /dev/null -o .tmp_"*/tmp) asked=${asked%.tmp_*} ;;
*) exec "$name" "$@" ;;
esac
[ -r "$PROBE_ANSWERS" ] && . "$PROBE_ANSWERS"
"$name" "$@"
ended=$?
[ -d "$PROBE_NOTES" ] && printf '%s\\n%s' "$ended" "$asked" > "$PROBE_NOTES/$$"
exit $ended
"""


@dataclass(frozen=True, slots=True)
class Probes:
    """What is known of one build directory."""

    place: Path
    """A directory of its own."""

    def environment(self, compiler: str, *, answered: bool) -> dict[str, str]:
        """Return make's variables. With `answered` the script uses the answers if there are any; else it takes notes.

        `compiler` is the first word of CC=.
        """
        programs = self.place / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        script = programs / Path(compiler).name
        if not script.exists():
            write_atomic(script, _SCRIPT.encode())
            script.chmod(0o755)
        path = {"PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}"}
        if answered and self._answers.exists():
            return {**path, ANSWERS: str(self._answers), NOTES: ""}
        self.forget()
        self._notes.mkdir()
        return {**path, ANSWERS: "", NOTES: str(self._notes)}

    def forget(self) -> None:
        """Drop all answers: make is going to compile anew by others."""
        self._answers.unlink(missing_ok=True)
        shutil.rmtree(self._notes, ignore_errors=True)

    def settle(self) -> None:
        """Make the notes of a make that has ended well the answers."""
        if not self._notes.is_dir():
            return
        answers: dict[str, str] = {}
        for note in sorted(self._notes.iterdir()):
            ended, _, asked = note.read_text(errors="surrogateescape").partition("\n")
            answers[asked] = ended
        lines = []
        for asked, ended in answers.items():
            if ended.isdecimal():
                lines.append(f'[ "$asked" = {shlex.quote(asked)} ] && exit {ended}\n')
        write_atomic(self._answers, "".join(lines).encode(errors="surrogateescape"))
        shutil.rmtree(self._notes, ignore_errors=True)

    @property
    def _answers(self) -> Path:
        return self.place / "answers"

    @property
    def _notes(self) -> Path:
        return self.place / "notes"
