# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for several hosts: offer this one, list them, make certificates, watch a queue, share what was built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.core.errors import UsageError, unknown
from lab.verbs import options
from lab.verbs.common import print_note

if TYPE_CHECKING:
    from lab.cluster.offer import Offer
    from lab.cluster.session import ClusterChoice
    from lab.cluster.store import Store


@click.command()
@click.argument("address", metavar="tls://HOST:PORT")
@click.option("--name", default="", metavar="NAME", help="Call this host NAME in reports [its host name].")
@options.CERTS
@click.option("--store", default="", metavar="URL", help="Reach the store by this URL [that of the lab that asks].")
@click.option(
    "--guests",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Run at most N guests at once [as many as CPUs and memory allow].",
)
def worker(address: str, name: str, certs: str | None, store: str, guests: int | None) -> None:
    """Offer this host to a cluster, until its scheduler ends.

    What the host can do is measured: emulators, compilers, memory, CPUs and disk as `lab doctor` finds them, and KVM
    if a guest boots with it. When the scheduler is gone, or the worker is ended, so are its guests.

    Whoever has a certificate of the cluster can run code on this host.

    Exit status: 0 the scheduler has ended, 2 it could not be reached, 64 bad input.

    \b
    lab worker tls://10.0.0.1:8786
    lab worker tls://10.0.0.1:8786 --name big --guests 16 --store /srv/pagelab
    """
    from lab.cluster import engine, hosts
    from lab.cluster import worker as workers
    from lab.cluster.offer import host_name
    from lab.cluster.probe import prove_kvm
    from lab.core.cache import Cache, default_root

    engine.check_address(address)
    directory = hosts.directory(certs or hosts.CERTS)
    engine.security(directory)
    host = workers.WorkerHost(
        name=name or host_name(), cache_root=default_root(), store=store, guests=guests, say=print_note
    )
    workers.become(host)
    try:
        for line in prove_kvm(host):
            print_note(line)
        with Cache(default_root()).scratch("worker") as scratch:
            engine.serve_worker(address, host.name, directory, scratch, host.close)
    finally:
        host.close()


@click.command("hosts")
@options.elsewhere
def hosts_(cluster: ClusterChoice | None) -> int:
    """List the hosts of a cluster: what each has, does and did.

    A host that is given nothing is listed with the reason.

    Exit status: 0 every host can be given cells, 1 one or more cannot, 2 the scheduler could not be reached, 64 bad
    input.

    \b
    lab hosts --hosts hosts.yaml
    lab hosts --cluster tls://10.0.0.1:8786
    """
    from lab.cluster.session import session

    if cluster is None:
        raise UsageError("which cluster? expected --hosts FILE.yaml or --cluster tls://HOST:PORT")
    good = True
    with session(cluster, lambda line: print_note(f"note: {line}")) as found:
        for name, offer in sorted(found.offers().items()):
            lines, fine = describe_host(name, offer)
            good = good and fine
            print("\n".join(lines))
    return 0 if good else 1


def describe_host(name: str, offer: Offer | str) -> tuple[list[str], bool]:
    """Return a host as `lab hosts` prints it, and whether it is given cells."""
    from lab.core.sizes import GIB

    if isinstance(offer, str):
        return [f"{name}: it does not say what it offers: {offer}"], False
    lines = [
        f"{name}: {offer.machine}, {offer.cpus} CPUs, load {offer.load:.1f}, {offer.memory / GIB:.1f} GiB of memory, "
        f"{offer.disk / GIB:.0f} GiB of disk, {offer.guests} guests at most"
    ]
    for arch, emulator in sorted(offer.arches.items()):
        how = "KVM" if emulator.kvm else "emulated"
        builds = ", builds" if emulator.build else ""
        lines.append(f"  {arch}: QEMU {emulator.emulator}, {how}{builds}")
    lines += [f"  {line}" for line in describe_work(offer)]
    lines += [f"  note: {remark}" for remark in offer.remarks()]
    refused = offer.refused()
    if refused:
        lines.append(f"  is given nothing: {refused}")
    return lines, not refused


def describe_work(offer: Offer) -> list[str]:
    """Return what a host does and has done, as `lab hosts` prints it."""
    work = offer.work
    if work is None:
        return []
    lines = [f"now: {', '.join(work.doing) or 'nothing'}"]
    ended = [f"{count} {status}" for status, count in sorted(work.ended.items())]
    if ended or work.builds:
        attempts = f"attempts: {', '.join(ended) or 'none'}"
        hours = max(0.0, offer.time - work.since) / 3600
        lines.append(f"in {hours:.1f} h: {attempts}; guests ran {work.run_s:.0f} s; {work.builds} builds")
    return lines


@click.group("cluster")
def cluster_() -> None:
    """Set up a cluster.

    \b
    lab cluster certs ~/pagelab-certs laptop big arm
    lab cluster certs ~/pagelab-certs new-host --days 30
    """


@cluster_.command("certs")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--days", type=click.IntRange(1, 3650), default=365, metavar="N", help="Let them be valid N days [365].")
def certs_(directory: Path, names: tuple[str, ...], days: int) -> None:
    """Make a certificate for each host, and the authority that signs them if DIRECTORY has none.

    DIRECTORY/NAME is what the host NAME needs: copy it there as ~/.config/pagelab/certs. DIRECTORY/ca-key.pem makes
    further hosts: keep it where no host can read it.

    A certificate is worth the right to run code on every host of the cluster.

    \b
    lab cluster certs ~/pagelab-certs laptop big arm
    lab cluster certs ~/pagelab-certs new-host --days 30
    """
    from lab.cluster import certificates

    for made in certificates.make(directory, names, days=days):
        expires = certificates.expires(made / "cert.pem")
        print(f"{made}: valid until {expires:%Y-%m-%d}")


@click.command("queue")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="End when no job waits [wait for further ones].")
def queue_(directory: Path, *, once: bool) -> int:
    """Run the jobs that are dropped into a directory.

    They are run in the order of their priority, and then of their age.

    A job is a file: .patch, .mbox and .eml are tried on the `tree` of DIRECTORY/queue.yaml, .msgid has a message id in
    it, .yaml is a campaign, .campaign has the name of one. A .json is a job of KernelCI's pull-lab protocol; the answer
    to it is callback.json. `10-fix.patch` goes before `50-other.patch`. Results are in DIRECTORY/done, one directory
    for each job. Write a file under another name first, such as NAME.part, and rename it.

    Exit status with --once: the largest of those of the jobs.

    \b
    lab queue ~/queue --once
    lab queue /srv/pagelab/queue
    """
    from lab.cluster.queue import FinishedJob, Queue

    worst = 0

    def done(job: FinishedJob) -> None:
        nonlocal worst
        worst = max(worst, job.status)
        print(f"{job.name}: exit status {job.status}: {job.directory}", flush=True)

    Queue(directory).run(once=once, done=done)
    return worst


# The store of a team.

REMOTE = click.option(
    "--remote",
    default="",
    metavar="URL",
    help="Use this store: a directory, ssh://, s3:// or http:// [`cache_remote` of the settings].",
)
WORDS = click.argument("words", metavar="[KIND[/KEY]]...", nargs=-1)


@click.group("cache")
def cache_() -> None:
    """Share what was built with other hosts.

    With `cache_remote` in the settings, every build looks there first, and stores there what it had to build.

    \b
    lab cache list --remote /srv/pagelab
    lab cache push kernel --remote /srv/pagelab
    """


@cache_.command("push")
@WORDS
@REMOTE
def cache_push(words: tuple[str, ...], remote: str) -> None:
    """Store entries of the cache that the store lacks.

    What their keys are computed from (compilers, versions of Debian's packages) is stored with them.

    \b
    lab cache push
    lab cache push kernel rootfs
    """
    from lab.build import key_facts
    from lab.verbs.places import open_cache, open_library

    _check_kinds(words)
    store, cache, library = _store(remote), open_cache(), open_library()
    facts = key_facts.keep(cache, sorted({library.kernel(name).source for name in library.kernels()}))
    if store.put(key_facts.ENTRY, facts, cache.path(key_facts.ENTRY, facts)):
        print(f"{key_facts.ENTRY}/{facts}: stored")
    for kind, key in _local_entries(cache.root, words):
        if store.put(kind, key, cache.path(kind, key)):
            print(f"{kind}/{key}: stored")


@cache_.command("pull")
@WORDS
@REMOTE
def cache_pull(words: tuple[str, ...], remote: str) -> None:
    """Fetch entries of the store that the cache lacks.

    What the newest keys of the store were computed from is adopted where this host does not know it: then it needs
    neither the compilers nor the source for what it has fetched.

    \b
    lab cache pull kernel
    lab cache pull rootfs/40fa1053bb28ed2d5ab3
    """
    from lab.build import key_facts
    from lab.core.cache import Cache, default_root
    from lab.core.errors import InfraError

    _check_kinds(words)
    store, failed = _store(remote), False
    cache = Cache(default_root(), store)
    artefacts = list(store.artefacts())
    facts = [artefact for artefact in artefacts if artefact.kind == key_facts.ENTRY]
    if facts and cache.obtain(key_facts.ENTRY, (newest := min(facts, key=lambda each: each.age_s)).key):
        key_facts.adopt(cache, newest.key)
    for artefact in artefacts:
        if _named(artefact.kind, artefact.key, words) and not cache.has(artefact.kind, artefact.key):
            fetched = cache.obtain(artefact.kind, artefact.key)
            failed = failed or not fetched
            print(f"{artefact.kind}/{artefact.key}: {'fetched' if fetched else 'NOT fetched'}")
    if failed:
        raise InfraError("some entries could not be fetched")


@cache_.command("list")
@WORDS
@REMOTE
def cache_list(words: tuple[str, ...], remote: str) -> None:
    """List what the store has.

    \b
    lab cache list
    lab cache list kernel --remote /srv/pagelab
    """
    from lab.core.sizes import MIB

    _check_kinds(words)
    total = count = 0
    for artefact in _store(remote).artefacts():
        if _named(artefact.kind, artefact.key, words):
            total, count = total + artefact.size, count + 1
            print(
                f"{artefact.kind}/{artefact.key}  {artefact.size / MIB:.1f} MiB  {artefact.age_s / 86400:.0f} days old"
            )
    print(f"{count} entries, {total / MIB:.1f} MiB")


@cache_.command("prune")
@click.option("--days", type=click.IntRange(0, 10_000), default=30, metavar="N", help="Keep N days [30].")
@REMOTE
def cache_prune(days: int, remote: str) -> None:
    """Remove artefacts and evidence from the store that are older.

    \b
    lab cache prune
    lab cache prune --days 7 --remote /srv/pagelab
    """
    from lab.cluster.store import DAY_S
    from lab.core.sizes import MIB

    files, size = _store(remote).prune(days * DAY_S)
    print(f"{files} files removed, {size / MIB:.1f} MiB")


def _store(remote: str) -> Store:
    """Open the store that a command line or the settings name; UsageError if neither does."""
    from lab.verbs.places import open_store, store_url

    url = remote or store_url()
    if not url:
        raise UsageError("which store? expected --remote URL, PAGELAB_STORE, or `cache_remote:` in the settings")
    return open_store(url)


def _local_entries(root: Path, words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the entries of the cache that may be stored and that the words name; all without words."""
    from lab.build import key_facts
    from lab.cluster.store import KINDS

    found = []
    for kind in sorted(KINDS - {key_facts.ENTRY}):
        for path in sorted((root / kind).glob("*")):
            if path.is_dir() and _named(kind, path.name, words):
                found.append((kind, path.name))
    return found


def _check_kinds(words: tuple[str, ...]) -> None:
    """Raise UsageError for a KIND or KIND/KEY whose kind no store has."""
    from lab.cluster.store import KINDS

    for word in words:
        if word.partition("/")[0] not in KINDS:
            raise unknown("kind of entry", word.partition("/")[0], KINDS)


def _named(kind: str, key: str, words: tuple[str, ...]) -> bool:
    return not words or kind in words or f"{kind}/{key}" in words
