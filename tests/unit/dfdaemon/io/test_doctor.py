"""The doctor on nodes as distributions ship them, before and after they are configured."""

import asyncio
import json
import re
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dfdaemon.config import DaemonConfig, MirrorConfig, OriginConfig, RegistryConfig
from dfdaemon.io import doctor, install, install_restart
from dfdaemon.io.install_files import NodeFiles
from dfdaemon.io.node_commands import main
from tests.support.certificates import make_certificate
from tests.support.node_trees import CERTS, REFUSED, TREES, NodeTree
from tests.support.processes import free_port
from tests.support.unprivileged import as_nobody

ROOT = Path(__file__).parents[4]
QUOTA = '[store]\nquota_bytes = "1MiB"\nfree_bytes_min = 0\n'
BY_NAME = {tree.name: tree for tree in [*TREES, *(tree for tree, _ in REFUSED)]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "node"
    (root / "etc/damselfly").mkdir(parents=True)
    (root / "etc/damselfly/dfdaemon.toml").write_text(QUOTA)
    return root


def containerd_options(tree: NodeTree) -> list[str]:
    """The options that the doctor shares with configure."""
    pairs = zip(tree.options[::2], tree.options[1::2], strict=True)
    return [word for pair in pairs if pair[0].startswith("--containerd") for word in pair]


def examine(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `dfdaemon doctor --json`; returns the exit code and the findings."""
    capsys.readouterr()
    code = 0
    try:
        main(["doctor", "--root", str(root), "--json", *words])
    except SystemExit as ended:
        code = int(ended.code or 0)
    found = json.loads(capsys.readouterr().out)
    wrong = [finding for finding in found["findings"] if finding["wrong"]]
    assert found["wrong"] == len(wrong)
    assert code == (1 if wrong else 0)
    return code, wrong


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Debian", "containerd-config-path"),
        ("Ubuntu with written defaults", "containerd-config-path"),
        ("containerd 2.2 with written defaults", "containerd-config-path-list"),
        ("GKE with mirrors", "containerd-mirrors"),
        ("GKE", "containerd-not-configured"),
        ("EKS on Amazon Linux 2023", "containerd-not-configured"),
        ("not TOML", "containerd-configuration"),
        ("a hosts.toml that is none", "containerd-configuration"),
    ],
)
def test_what_is_wrong_is_found_with_what_to_do(
    name: str, code: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = BY_NAME[name]
    tree.write(root)
    _, wrong = examine(root, capsys, *containerd_options(tree))
    assert code in [finding["code"] for finding in wrong]
    assert all(finding["advice"] for finding in wrong)


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_a_configured_node_has_nothing_wrong(
    tree: NodeTree, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.write(root)
    (root / "etc/damselfly/dfdaemon.toml").write_text(QUOTA)
    install.main(["configure", tree.runtime, "--root", str(root), *tree.options])
    assert examine(root, capsys, *containerd_options(tree)) == (0, [])


def test_a_file_that_something_has_rewritten_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = BY_NAME["k3s"]
    tree.write(root)
    install.main(["configure", "k3s", "--root", str(root)])
    tree.write(root)
    (finding,) = examine(root, capsys)[1]
    assert finding["code"] == "configuration-lost"
    assert finding["advice"].startswith("dfdaemon configure k3s")


@pytest.mark.parametrize("runtime", ["docker", "crio", "k3s"])
@pytest.mark.parametrize("name", ["Debian", "GKE", "not TOML"])
def test_a_containerd_that_nobody_configured_is_not_wrong_beside_a_runtime_that_was(
    runtime: str, name: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = BY_NAME[name]
    tree.write(root)
    install.main(["configure", runtime, "--root", str(root)])
    assert examine(root, capsys, *containerd_options(tree)) == (0, [])
    main(["doctor", "--root", str(root), *containerd_options(tree)])
    said = capsys.readouterr().out
    assert re.search(r"note   containerd-.*\n       -> only if .* pull through containerd here", said)


def test_a_containerd_that_was_configured_and_lost_it_is_wrong_beside_another_runtime(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = BY_NAME["Debian"]
    tree.write(root)
    for runtime in "docker", "containerd":
        install.main(["configure", runtime, "--root", str(root)])
    tree.write(root)
    wrong = [finding["code"] for finding in examine(root, capsys)[1]]
    assert wrong == ["containerd-config-path", "configuration-lost"]


def test_what_only_root_may_read_is_one_note_for_others(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        root = Path(folder)
        (root / "etc/damselfly/configured").mkdir(parents=True)
        (root / "etc/damselfly/dfdaemon.toml").write_text(QUOTA)
        (root / "etc/damselfly/configured").chmod(0o000)
        root.chmod(0o755)
        with as_nobody():
            main(["doctor", "--root", folder])
        (root / "etc/damselfly/configured").chmod(0o700)
    said = capsys.readouterr().out
    assert said.count("Permission denied") == 1
    assert re.search(r"note   not-permitted: .*\n       -> run the doctor as root\n", said)
    assert said.endswith("nothing is wrong\n")


def test_a_restart_that_is_left_to_be_done_is_a_note(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install_restart.remember(NodeFiles(root), "docker")
    main(["doctor", "--root", str(root)])
    assert "note   restart-pending: docker has to read its configuration again" in capsys.readouterr().out


def test_a_folder_that_hides_the_default_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BY_NAME["AKS"].write(root)
    (root / "etc/damselfly/dfdaemon.toml").write_text(QUOTA)
    install.main(["configure", "containerd", "--root", str(root)])
    (root / f"{CERTS[1:]}/docker.io").mkdir()
    (finding,) = examine(root, capsys)[1]
    assert finding["code"] == "containerd-shadow"


def test_the_token_and_the_disk_are_looked_at(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = root / "etc/damselfly/token"
    token.write_text("0123456789abcdef")
    token.chmod(0o644)
    config = '[peer]\ntoken_file = "/etc/damselfly/token"\n[store]\nquota_bytes = "1000000GiB"\n'
    (root / "etc/damselfly/dfdaemon.toml").write_text(config)
    codes = [finding["code"] for finding in examine(root, capsys)[1]]
    assert codes == ["disk-quota", "token-readable"]
    token.unlink()
    codes = [finding["code"] for finding in examine(root, capsys)[1]]
    assert codes == ["disk-quota", "token-unusable"]


def test_the_certificate_is_looked_at(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_certificate(root / "etc/damselfly", "127.0.0.1")
    names = {"certificate_file": "certificate", "key_file": "key", "ca_file": "certificate"}
    files = "".join(f'{name} = "/etc/damselfly/{file}.pem"\n' for name, file in names.items())
    (root / "etc/damselfly/dfdaemon.toml").write_text(f'[peer]\ntls = "require"\n{files}')
    assert examine(root, capsys) == (0, [])
    make_certificate(root / "etc/damselfly", "127.0.0.1", timedelta(hours=-1))
    (finding,) = examine(root, capsys)[1]
    assert finding["code"] == "certificate-unusable"


def test_files_of_registries_are_looked_at(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = '[[origin.registries]]\nname = "r.test"\nca_file = "/none/ca.pem"\n'
    (root / "etc/damselfly/dfdaemon.toml").write_text(QUOTA + registry)
    (finding,) = examine(root, capsys)[1]
    assert finding["code"] == "registry-file-unusable"
    assert "registries.r.test.ca_file" in finding["what"]


def test_a_configuration_that_cannot_be_read_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc/damselfly/dfdaemon.toml").write_text("mirror = 1\n")
    (finding,) = examine(root, capsys)[1]
    assert finding["code"] == "configuration"


async def test_the_mirror_is_tried_where_runtimes_look_for_it(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "::1", 0)
    port = server.sockets[0].getsockname()[1]
    config = DaemonConfig(
        mirror=MirrorConfig(listen=f"[::]:{port}"),
        origin=OriginConfig(registries=(RegistryConfig("r.test", f"http://127.0.0.1:{free_port()}"),)),
        control_socket=str(tmp_path / "none"),
    )
    async with server:
        found = await doctor.running(config, f"127.0.0.1:{port}")
    assert f"the mirror at 127.0.0.1:{port} cannot be reached (Connection refused)" in found[0].what


def test_people_read_what_is_wrong_first_and_what_to_do(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BY_NAME["EKS on Amazon Linux 2"].write(root)
    with pytest.raises(SystemExit):
        main(["doctor", "--root", str(root), "--containerd-version", "1.7"])
    said = capsys.readouterr().out
    assert re.match(r"wrong  containerd-not-configured: .*\n       -> dfdaemon configure containerd\n", said)
    assert "note   containerd-discards-layers: " in said
    assert said.endswith("1 thing is wrong\n")


def test_every_code_is_explained() -> None:
    sources = ("dfdaemon/install/findings.py", "dfdaemon/io/doctor.py")
    text = "".join((ROOT / source).read_text() for source in sources)
    codes = set(re.findall(r'(?:Finding|_guarded)\(\s*"([a-z-]+)"', text))
    assert len(codes) > 20
    explained = (ROOT / "docs/install.md").read_text()
    assert [code for code in sorted(codes) if f"`{code}`" not in explained] == []


def test_the_words_of_a_node_are_dispatched(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["configure", "docker", "--root", str(root)])
    main(["unconfigure", "docker", "--root", str(root)])
    assert "deleted /etc/docker/daemon.json" in capsys.readouterr().out
