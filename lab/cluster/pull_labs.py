# SPDX-License-Identifier: GPL-2.0-or-later
"""KernelCI's pull-lab protocol: a job definition as a campaign of `lab run`, and the campaign's results as an answer.

A job definition is JSON, as kernelci-core generates it: `artifacts` (URLs), `tests`, `environment`, `callback`,
`integrity`. Keys that are not known here are ignored, since newer versions add some. What is fetched is bounded.

    TARGET/kernel/boot/vmlinuz-kernelci config-kernelci    what `image:` needs
    TARGET/campaign.yaml kernel.yaml
    TARGET/callback.json                                   what to post to the URL that the job names
"""

from __future__ import annotations

import base64
import gzip
import json
import tarfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.cluster.store import fetch_url
from lab.core.cache import explain_os_error, write_atomic
from lab.core.errors import InputError, UsageError
from lab.core.sizes import GIB, MIB
from lab.core.validation import first_invalid

SUFFIX = ".json"
MAX_JOB = 1 * MIB
MAX_KERNEL = 1 * GIB
MAX_MODULES = 4 * GIB
MAX_LOG = 4 * MIB
BOOT, OWN = "boot", "pagelab"
NAME = "kernelci"
CALLBACK = "callback.json"
Short = Annotated[str, Field(max_length=4096)]
Url = Annotated[str, Field(max_length=4096, pattern=r"^https?://[^\s\x00-\x1f]+$")]
TestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,200}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class JobArtifacts(_Part):
    """URLs of what was built. `config` is beside the kernel, as `.config`, if it is not named."""

    kernel: Url
    modules: Url | None = None
    config: Url | None = None


class JobTest(_Part):
    """A test: `boot`, or `pagelab` with scenarios or cases as its subset."""

    id: TestId
    type: Short
    timeout_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 600.0
    subset: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_*?][A-Za-z0-9_.*?+-]{0,199}$")], ...], Field(max_length=100)
    ] = ()


class Environment(_Part):
    platform: Short = ""
    arch: Short


class Callback(_Part):
    url: Url
    token_name: Short = ""


class Integrity(_Part):
    sha256: dict[str, Short] = {}


class Job(_Part):
    """A job definition."""

    artifacts: JobArtifacts
    tests: Annotated[tuple[JobTest, ...], Field(min_length=1, max_length=1000)]
    environment: Environment
    callback: Callback | None = None
    integrity: Integrity = Integrity()

    @property
    def globs(self) -> tuple[str, ...]:
        """The scenarios and cases to run; those of a boot test alone are the shortest scenario."""
        found: dict[str, None] = {}
        for test in self.tests:
            if test.type == OWN:
                found.update(dict.fromkeys(test.subset or ("*",)))
        return tuple(found) or BOOT_SCENARIO


BOOT_SCENARIO = ("guards.i01*",)
"""What a guest runs of which only booting is asked: a run has at least one case."""


def read(path: Path) -> Job:
    """Read a job definition; InputError with the key for what is wrong in it."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JOB + 1)
    except OSError as error:
        raise explain_os_error(error, str(path)) from error
    if len(text) > MAX_JOB:
        raise InputError(path, None, None, f"expected a job of at most {MAX_JOB // MIB} MiB")
    try:
        return Job.model_validate_json(text)
    except ValidationError as error:
        key, what = first_invalid(error)
        raise InputError(path, None, str(key), what) from None


def prepare(job: Job, target: Path, topologies: Mapping[str, str]) -> Path:
    """Fetch a job's kernel into a directory, and write the campaign that runs its tests; return the campaign's file.

    `topologies` maps platforms or architectures to machines. UsageError for a platform without a machine.
    """
    machine = machine_of(job, topologies)
    boot = target / "kernel/boot"
    try:
        boot.mkdir(parents=True)
        _fetch(job, "kernel", job.artifacts.kernel, boot / f"vmlinuz-{NAME}", MAX_KERNEL)
        config = job.artifacts.config or f"{job.artifacts.kernel.rpartition('/')[0]}/.config"
        _fetch(job, "config", config, boot / f"config-{NAME}", 16 * MIB)
        if job.artifacts.modules:
            _fetch(job, "modules", job.artifacts.modules, target / "modules.tar", MAX_MODULES)
            _unpack_modules(target / "modules.tar", target / "kernel")
        kernel = {
            "description": "a kernel of a KernelCI job",
            "source": f"image:{(boot / f'vmlinuz-{NAME}').absolute()}",
        }
        campaign = {
            "description": f"KernelCI job on {job.environment.platform or job.environment.arch}",
            "topologies": [machine],
            "kernels": ["./kernel.yaml"],
            "scenarios": list(job.globs),
            "isolation": "shared",
        }
        # JSON is YAML, and needs no quoting of ours.
        (target / "kernel.yaml").write_text(json.dumps(kernel) + "\n")
        (target / "campaign.yaml").write_text(json.dumps(campaign) + "\n")
    except OSError as error:
        raise explain_os_error(error, str(target)) from error
    return target / "campaign.yaml"


def machine_of(job: Job, topologies: Mapping[str, str]) -> str:
    """Return the machine for a job; UsageError if none is set for its platform or architecture."""
    wanted = (job.environment.platform, job.environment.arch)
    for name in wanted:
        if name in topologies:
            return topologies[name]
    known = ", ".join(topologies) or "none"
    raise UsageError(
        f"no machine for platform {wanted[0]!r} or architecture {wanted[1]!r}", hint=f"`pull_labs:` has: {known}"
    )


def _fetch(job: Job, kind: str, url: str, to: Path, limit: int) -> None:
    fetch_url(url, to, limit=limit, sha256=job.integrity.sha256.get(kind, ""))


def _unpack_modules(tar_file: Path, into: Path) -> None:
    """Unpack the modules of a kernel as lib/modules/kernelci: at most MAX_MODULES, and nothing outside."""
    total = 0
    try:
        with tarfile.open(tar_file) as tar:
            for member in tar:
                total += member.size
                if total > MAX_MODULES:
                    raise UsageError(f"more than {MAX_MODULES // GIB} GiB of modules")
                tar.extract(member, into / "unpacked", filter="data")
    except tarfile.TarError as error:
        raise UsageError(f"the modules cannot be unpacked: {error}") from None
    found = sorted((into / "unpacked").glob("**/lib/modules/*"))
    if len(found) != 1:
        raise UsageError(f"expected modules of one kernel, found {len(found)}")
    (into / "lib/modules").mkdir(parents=True)
    found[0].rename(into / "lib/modules" / NAME)


# The answer.


def write_answer(document: Mapping[str, Any], target: Path) -> None:
    """Write the document that a job's callback gets."""
    write_atomic(target / CALLBACK, (json.dumps(document, indent=1) + "\n").encode())


def answer(job: Job, run: Path, machine: str) -> dict[str, Any]:
    """Return the results of a run as the protocol has them; without results, an error of the infrastructure."""
    try:
        results = json.loads((run / "results.json").read_bytes())
    except (OSError, ValueError):
        return failed("the run gave no results", machine)
    tests = {test.id: _test(test, results) for test in job.tests}
    document: dict[str, Any] = {"metadata": _metadata(machine), "summary": _summary(tests), "tests": tests}
    if log := _log(run):
        document["artifacts"] = {"log": log}
    return document


def failed(reason: str, machine: str = "") -> dict[str, Any]:
    """Return the answer for a job that could not be run: nothing is concluded about its kernel."""
    return {
        "metadata": _metadata(machine),
        "summary": {"total": 0, "passed": 0, "failed": 0, "skipped": 0, "errors": 0},
        "tests": {},
        "error_code": "Infrastructure",
        "error_msg": reason[:2000],
    }


def _metadata(machine: str) -> dict[str, str]:
    return {"system": machine or "pagelab", "lab": "pagelab"}


def _test(test: JobTest, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return a test as the protocol has it. A test of a type that is not known is skipped, with the reason."""
    if test.type == BOOT:
        return {"status": _booted(results["cells"])}
    if test.type != OWN:
        return {"status": "skip", "reason": f"tests of type {test.type[:100]!r} are not run here"}
    subtests: dict[str, dict[str, Any]] = {}
    for record in results["records"]:
        label = f"{record['scenario']}.{record['case']}"
        if not test.subset or _named(label, test.subset):
            subtests[label] = {"status": _status(record), "duration_ms": round(1000 * (record["duration_s"] or 0))}
    return {"status": _worst(subtest["status"] for subtest in subtests.values()), "subtests": subtests}


def _named(label: str, subset: Sequence[str]) -> bool:
    """Whether one of some globs names a case, or its scenario."""
    scenario = label.partition(".")[0]
    return any(fnmatchcase(label, glob) or fnmatchcase(scenario, glob) for glob in subset)


def _booted(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return pass if every guest booted, fail if one did not, error if the lab failed."""
    statuses = {str(cell["status"]) for cell in cells}
    if "NO_BOOT" in statuses:
        return "fail"
    return "pass" if statuses == {"OK"} else "error"


def _status(record: Mapping[str, Any]) -> str:
    """Return whether a case met its expectation."""
    if record["outcome"] == "BROKEN":
        return "error"
    return {True: "pass", False: "fail", None: "skip"}[record["met"]]


def _worst(statuses: Any) -> str:
    """Return the status of a test from those of its cases: error for none, since absence is no success."""
    found = set(statuses)
    for status in ("error", "fail", "pass", "skip"):
        if status in found:
            return status
    return "error"


def _summary(tests: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    found = [str(test["status"]) for test in tests.values()]
    counts = {"passed": "pass", "failed": "fail", "skipped": "skip", "errors": "error"}
    return {"total": len(found), **{name: found.count(status) for name, status in counts.items()}}


def _log(run: Path) -> str:
    """Return the end of the consoles, packed as the protocol has it; empty if there is none."""
    texts = []
    for console in sorted((run / "cells").glob("*/*/console.log")):
        texts.append(console.read_bytes()[-MAX_LOG:])
    joined = b"\n".join(texts)[-MAX_LOG:]
    return f"base64:{base64.b64encode(gzip.compress(joined)).decode()}" if joined else ""
