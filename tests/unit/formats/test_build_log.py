# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.buildlog: steps, and the words of whoever failed, on output as kbuild and the compilers write it."""

from __future__ import annotations

import pytest

from lab.formats import build_log


@pytest.mark.parametrize(
    ("line", "tool", "directory"),
    [
        ("  CC      mm/shmem.o", "CC", "mm"),
        ("  LD [M]  fs/ext4/ext4.ko", "LD", "fs/ext4"),
        ("  HOSTCC  scripts/basic/fixdep", "HOSTCC", "scripts/basic"),
        ("  LD      vmlinux", "LD", "."),
        ("  AR      built-in.a", "AR", "."),
        ("  CC      /w/build-x/tools/objtool/arch/x86/decode.o", "CC", "tools/objtool/arch/x86"),
        ("  VDSO2C  arch/x86/entry/vdso/vdso-image-64.c", "VDSO2C", "arch/x86/entry/vdso"),
    ],
)
def test_steps(line: str, tool: str, directory: str) -> None:
    step = build_log.parse_step(line)
    assert step and (step.tool, step.directory("/w/build-x")) == (tool, directory)


@pytest.mark.parametrize("line", ["", "mm/shmem.c:1: error: x", "make: Entering directory", "  123 |  CC  x", "  cc x"])
def test_what_is_no_step(line: str) -> None:
    assert build_log.parse_step(line) is None


GCC = """\
  CC      mm/mmap.o
mm/mmap.c: In function 'do_mmap':
mm/mmap.c:10:2: warning: unused variable 'x' [-Wunused-variable]
   10 |  int x;
      |      ^
  CC      mm/shmem.o
In file included from ../include/linux/mm.h:5,
                 from ../mm/shmem.c:24:
../include/linux/shmem_fs.h:12:1: error: unknown type name 'loff'
   12 | loff size;
      | ^~~~
../mm/shmem.c: In function 'shmem_fault':
../mm/shmem.c:2500:9: error: 'foo' undeclared (first use in this function)
 2500 |  return foo;
      |         ^~~
../mm/shmem.c:2500:9: note: each undeclared identifier is reported only once for each function it appears in
  CC      mm/swap.o
make[4]: *** [../scripts/Makefile.build:229: mm/shmem.o] Error 1
make[3]: *** [../scripts/Makefile.build:478: mm] Error 2
make[3]: *** Waiting for unfinished jobs....
  CC      fs/file.o
make[2]: *** [/src/Makefile:1937: .] Error 2
make: *** [Makefile:224: __sub-make] Error 2
"""

GCC_WORDS = """\
In file included from ../include/linux/mm.h:5,
                 from ../mm/shmem.c:24:
../include/linux/shmem_fs.h:12:1: error: unknown type name 'loff'
   12 | loff size;
      | ^~~~
../mm/shmem.c: In function 'shmem_fault':
../mm/shmem.c:2500:9: error: 'foo' undeclared (first use in this function)
 2500 |  return foo;
      |         ^~~
../mm/shmem.c:2500:9: note: each undeclared identifier is reported only once for each function it appears in"""

LD = """\
  LD      vmlinux.o
  LD      .tmp_vmlinux1
ld: vmlinux.o: in function `shmem_fault':
shmem.c:(.text+0x1c): undefined reference to `shmem_extend'
ld: shmem.c:(.text+0x40): undefined reference to `shmem_extend'
collect2: error: ld returned 1 exit status
make[2]: *** [../scripts/Makefile.vmlinux:34: vmlinux] Error 1
"""

LD_WORDS = """\
ld: vmlinux.o: in function `shmem_fault':
shmem.c:(.text+0x1c): undefined reference to `shmem_extend'
ld: shmem.c:(.text+0x40): undefined reference to `shmem_extend'"""

CASES = {
    "gcc": (GCC, GCC_WORDS),
    "ld": (LD, LD_WORDS),
    "no rule": (
        "  CC      mm/a.o\nmake[3]: *** No rule to make target 'mm/grow.o', needed by 'mm/built-in.a'.  Stop.\n"
        "make[2]: *** [mm] Error 2\n",
        "make[3]: *** No rule to make target 'mm/grow.o', needed by 'mm/built-in.a'.  Stop.",
    ),
    "makefile": ("mm/Makefile:12: *** missing separator.  Stop.\n", "mm/Makefile:12: *** missing separator.  Stop."),
    "header": (
        "../mm/shmem.c:3:10: fatal error: linux/none.h: No such file or directory\n    3 | #include <linux/none.h>\n"
        "      |          ^~~~~~~~~~~~~~\ncompilation terminated.\nmake[3]: *** [mm/shmem.o] Error 1\n",
        "../mm/shmem.c:3:10: fatal error: linux/none.h: No such file or directory\n    3 | #include <linux/none.h>\n"
        "      |          ^~~~~~~~~~~~~~\ncompilation terminated.",
    ),
    "gas": (
        "a.S: Assembler messages:\na.S:3: Error: no such instruction: `frob %eax'\nmake: *** [a.o] Error 1\n",
        "a.S: Assembler messages:\na.S:3: Error: no such instruction: `frob %eax'",
    ),
    "clang": (
        "mm/shmem.c:9:2: error: use of undeclared identifier 'foo'\n    9 |         foo();\n      |         ^\n"
        "1 error generated.\n",
        "mm/shmem.c:9:2: error: use of undeclared identifier 'foo'\n    9 |         foo();\n      |         ^",
    ),
    "lld": (
        "ld.lld: error: undefined symbol: grow\n>>> referenced by shmem.c\n>>>               vmlinux.o:(f)\n"
        "make: *** x\n",
        "ld.lld: error: undefined symbol: grow\n>>> referenced by shmem.c\n>>>               vmlinux.o:(f)",
    ),
    "modpost": (
        'ERROR: modpost: "grow" [fs/x.ko] undefined!\nmake: *** x\n',
        'ERROR: modpost: "grow" [fs/x.ko] undefined!',
    ),
    "kconfig": ("mm/Kconfig:12: syntax error\nmake: *** x\n", "mm/Kconfig:12: syntax error"),
    "nobody said": (
        "1\n2\n3\n4\n5\n6\n7\nmake[1]: *** [x] Error 1\nmake: *** [y] Error 2\n",
        "2\n3\n4\n5\n6\n7\nmake[1]: *** [x] Error 1",
    ),
    "not even make": ("1\n2\n3\n", "1\n2\n3"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_excerpt_is_the_words_of_whoever_failed(name: str) -> None:
    text, expected = CASES[name]
    assert build_log.excerpt(text.splitlines()) == expected


def test_excerpt_is_bounded() -> None:
    lines = [f"mm/a.c:{number}:1: error: again" for number in range(1000)]
    assert len(build_log.excerpt(lines).splitlines()) == build_log.MAX_ERRORS
    lines = ["mm/a.c:1:1: error: once", *(f"  {number} | text" for number in range(1000))]
    assert len(build_log.excerpt(lines).splitlines()) == build_log.MAX_LINES


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("fatal error: error writing to /tmp/x.s: No space left on device", "disk full"),
        ("gcc: fatal error: Killed signal terminated program cc1", "the compiler ran out of memory"),
        ("../tools/objtool/elf.h:1:1: fatal error: gelf.h: No such file or directory", "the host has no gelf.h"),
        (
            "scripts/sign-file.c:1:1: fatal error: openssl/bio.h: No such file or directory",
            "the host has no openssl/bio.h",
        ),
        ("/bin/sh: 1: bc: not found", "the host has no bc"),
    ],
)
def test_host_faults_are_not_the_kernels(line: str, what: str) -> None:
    fault = build_log.host_fault(["  CC  a.o", line])
    assert fault and fault.what == what and fault.hint


@pytest.mark.parametrize("name", CASES)
def test_a_kernels_own_errors_are_no_host_faults(name: str) -> None:
    assert build_log.host_fault(CASES[name][0].splitlines()) is None
