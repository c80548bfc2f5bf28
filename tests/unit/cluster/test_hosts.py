# SPDX-License-Identifier: GPL-2.0-or-later
"""hosts.yaml, certificates, offers and attempts: what users write, what hosts say, what is on record."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the extra pagelab[cluster] is not installed")

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lab.cluster import attempts, certificates, engine, hosts, offer
from lab.cluster.attempts import Attempts, Became, HostAttempt
from lab.cluster.job import CellJob
from lab.cluster.members import Members
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import InfraError, InputError, UsageError
from lab.host.estimate import start_offer
from lab.verbs.cluster import describe_host

GOOD = """\
store: /srv/pagelab
listen: tls://10.0.0.1:8786
hosts:
  big: {guests: 4}
  arm: {start: "ssh -p 2222 root@10.0.0.7", lab: /opt/lab, store: "ssh://x/y"}
  local: {start: ip netns exec x}
"""


def hosts_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    return path


def test_the_command_that_starts_a_worker(tmp_path: Path) -> None:
    found = hosts.read(hosts_file(tmp_path, GOOD)).hosts
    address = "tls://10.0.0.1:8786"
    assert found["big"].command("big", address) == [
        *("ssh", "-o", "BatchMode=yes", "big"),
        "lab worker tls://10.0.0.1:8786 --name big --certs ~/.config/pagelab/certs --guests 4",
    ]
    arm = found["arm"].command("arm", address)
    assert arm[:4] == ["ssh", "-p", "2222", "root@10.0.0.7"]
    assert arm[4].startswith("/opt/lab worker ")
    assert arm[4].endswith("--store ssh://x/y")
    assert found["local"].command("local", address)[:6] == ["ip", "netns", "exec", "x", "lab", "worker"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("guests: 4", "guest: 4"), "hosts.yaml:4: hosts.big.guest: unknown key, expected one of start, lab, certs"),
        (("guests: 4", "guests: 4.5"), "hosts.yaml:4: hosts.big.guests: expected"),
        (("guests: 4", "guests: 0"), "hosts.yaml:4: hosts.big.guests: expected at least 1, got 0"),
        (("store: /srv", "stor: /srv"), "hosts.yaml:1: stor: unknown key, expected one of store, listen, certs, hosts"),
        (("tls://10.0.0.1:8786", "tcp://10.0.0.1:8786"), "hosts.yaml:2: listen: expected tls://HOST:PORT, got"),
        (("big:", "-big:"), "hosts.yaml:4: hosts.-big: expected a name of letters"),
        (("listen: tls://10.0.0.1:8786\n", ""), "listen: is required, and missing; or `deploy:` for"),
        (("hosts:", "deploy: {cluster: a.B}\nhosts:"), "hosts.yaml:2: listen: expected either `listen:` and `hosts:`"),
        (("hosts:", "deploy: {cluster: B}\nhosts:"), "hosts.yaml:3: deploy.cluster: expected"),
        (("hosts:", "deploy: {cluster: a.B, worker: 3}\nhosts:"), "did you mean 'workers'"),
        (("ip netns exec x", "ip 'netns"), "hosts.yaml:6: hosts.local.start: expected a command"),
    ],
)
def test_one_line_for_what_is_wrong(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    old, new = change
    with pytest.raises(InputError) as error:
        hosts.read(hosts_file(tmp_path, GOOD.replace(old, new)))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_that_is_not_there_is_named(tmp_path: Path) -> None:
    certs = certificates.make(tmp_path / "certs", ["lab"])[0]
    for name, says in (("nosuch.Cluster", "No module named 'nosuch'"), ("distributed.NoSuch", "no attribute")):
        with pytest.raises(UsageError, match=says), engine.deployed(name, None, {}, certs):
            pass


def test_a_cluster_that_dask_starts_joins_with_the_certificates_of_the_lab(tmp_path: Path) -> None:
    certs = certificates.make(tmp_path / "certs", ["lab"])[0]
    options: dict[str, Any] = {"n_workers": 0, "threads_per_worker": 3, "processes": False, "protocol": "tls"}
    options["dashboard_address"] = None
    with engine.deployed("distributed.LocalCluster", 2, options, certs) as address:
        assert address.startswith("tls://")
        with engine.connected(address, certs) as connection:
            Deadline.after(60, "two workers").wait_for(lambda: len(connection.members()) == 2)
            members = Members(connection=connection, note=print)
            members.refresh()
            offers = members.usable().values()
    assert [found.guests for found in offers] == [3, 3], "no more guests than the engine runs tasks"


def test_the_nearest_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'guests'"):
        hosts.read(hosts_file(tmp_path, GOOD.replace("guests", "guest")))


@pytest.mark.parametrize("address", ["tcp://a:1", "tls://a", "tls://:1", "tls://a:x", "tls://a:65536", "a:1", ""])
def test_only_encrypted_addresses(address: str) -> None:
    with pytest.raises(UsageError, match="tls://HOST:PORT"):
        engine.check_address(address)


def test_a_scheduler_may_listen_on_any_free_port() -> None:
    assert engine.check_address("tls://127.0.0.1:0") == "tls://127.0.0.1:0"


def test_certificates(tmp_path: Path) -> None:
    made = certificates.make(tmp_path / "certs", ["a", "b"], days=30)
    again = certificates.make(tmp_path / "certs", ["c"])
    authority = x509.load_pem_x509_certificate((tmp_path / "certs/ca.pem").read_bytes())
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for directory in (*made, *again):
        cert = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
        cert.verify_directly_issued_by(authority)
        assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600
        assert not (directory / "ca-key.pem").exists(), "a host cannot make further hosts"
        assert engine.security(directory).tls_client_cert == str(directory / "cert.pem")
    expires = certificates.expires(made[0] / "cert.pem")
    assert timedelta(days=29) < expires - datetime.now(UTC) < timedelta(days=31)
    with pytest.raises(UsageError, match="is there already"):
        certificates.make(tmp_path / "certs", ["a"])
    with pytest.raises(UsageError, match="expected a host's name"):
        certificates.make(tmp_path / "certs", ["../a"])


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ca\.pem: no such certificate"):
        engine.security(tmp_path)


def test_this_host_measures_itself(tmp_path: Path) -> None:
    found = offer.measure("me", Cache(tmp_path))
    assert offer.Offer.decode(found.encode()) == found
    assert found.refused() == ""
    assert all(start_offer(arch) in found.offers for arch in found.arches)
    assert found.model_copy(update={"lab": "x"}).refused().startswith("another lab")
    assert "GiB of disk are free" in found.model_copy(update={"disk": 5}).refused()
    assert found.remarks(found.time + 86400) == ["its clock is -86400 s off"]
    assert found.remarks(found.time + 5) == []


def test_a_host_is_listed_with_what_it_does_and_has_done(tmp_path: Path) -> None:
    measured = offer.measure("me", Cache(tmp_path))
    work = offer.HostWork(
        since=measured.time - 7200,
        doing=("m/k attempt 1 for 3 s", "build of m/k for 9 s"),
        ended={"OK": 3, "BROKEN": 1},
        builds=2,
        run_s=12.4,
    )
    lines, good = describe_host("me", measured.model_copy(update={"work": work}))
    assert good
    assert "  now: m/k attempt 1 for 3 s, build of m/k for 9 s" in lines
    assert "  in 2.0 h: attempts: 1 BROKEN, 3 OK; guests ran 12 s; 2 builds" in lines
    idle, _ = describe_host("me", measured.model_copy(update={"work": offer.HostWork(since=measured.time)}))
    assert idle[-1] == "  now: nothing"


def test_a_document_of_another_kind_is_refused() -> None:
    for document in (b"", b"[]", b'{"run": "x"}', b"x" * (9 << 20)):
        with pytest.raises(InfraError):
            CellJob.decode(document)


def test_attempts_are_numbered_across_labs(tmp_path: Path) -> None:
    first = Attempts(tmp_path)
    assert [first.begin("c", "a"), first.begin("c", "b"), first.begin("d", "a")] == [1, 2, 1]
    first.note(HostAttempt(cell="c", attempt=2, host="b", became=Became.COUNTS))
    with (tmp_path / attempts.FILE).open("a") as file:
        file.write('{"cell": "torn')
    second = Attempts(tmp_path)
    assert second.counts("c") == 2
    assert second.counts("d") is None


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / attempts.FILE).write_text('{"cell": 1}\n{"cell"\n')
    with pytest.raises(InfraError, match="is damaged"):
        Attempts(tmp_path)
