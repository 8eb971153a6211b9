"""configure and unconfigure on nodes as distributions ship them: what changes, and that all is given back."""

import os
import stat
from pathlib import Path

import pytest

from dfdaemon.io import install
from dfdaemon.io.install_files import NodeFiles
from dfdaemon.io.install_journal import Journal, alone
from swarm.errors import ConfigError
from tests.support.node_trees import CERTS, REFUSED, TREES, NodeTree

URL = "http://127.0.0.1:4001"
NAME = "127.0.0.1:4001"
Snapshot = dict[str, tuple[int, int, bytes]]

every_tree = pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)


def snapshot(root: Path) -> Snapshot:
    """Every file and folder with its mode, owner and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = (
            os.readlink(path).encode() if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        )
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, content)
    return found


def word(verb: str, tree: NodeTree, root: Path, *more: str) -> None:
    """Run `dfdaemon VERB` for a node."""
    options = tree.options if verb == "configure" else ()
    install.main([verb, tree.runtime, "--root", str(root), *options, *more])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "node"
    root.mkdir()
    return root


@every_tree
def test_a_node_is_configured_and_given_back_byte_for_byte(
    tree: NodeTree, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.write(root)
    before = snapshot(root)
    word("configure", tree, root)
    assert ("needed: systemctl" in capsys.readouterr().out) is tree.restarts
    for path in tree.mirrored:
        assert NAME in (root / path.lstrip("/")).read_text(), path
    configured = snapshot(root)
    assert {path: configured[path][:2] for path in before} == {path: before[path][:2] for path in before}

    word("configure", tree, root)
    assert snapshot(root) == configured
    said = capsys.readouterr().out
    assert "nothing to change" in said
    assert "needed:" not in said

    word("unconfigure", tree, root)
    assert snapshot(root) == before
    assert ("needed: systemctl" in capsys.readouterr().out) is tree.restarts
    word("unconfigure", tree, root)
    assert "nothing to give back" in capsys.readouterr().out
    assert snapshot(root) == before


@every_tree
def test_a_dry_run_shows_a_diff_and_changes_nothing(
    tree: NodeTree, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.write(root)
    before = snapshot(root)
    word("configure", tree, root, "--dry-run")
    assert snapshot(root) == before
    shown = capsys.readouterr().out
    assert all(f"+++ b{path}\n" in shown for path in tree.mirrored)
    assert "s3cr3t" not in shown
    word("configure", tree, root)
    configured = snapshot(root)
    capsys.readouterr()
    word("unconfigure", tree, root, "--dry-run")
    assert snapshot(root) == configured
    assert "-" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("runtime", "path", "text"),
    [
        ("docker", "etc/docker/daemon.json", '{"http-proxy": "http://u:s3cr3t@proxy:3128"}'),
        (
            "k3s",
            "etc/rancher/k3s/registries.yaml",
            "configs:\n  r: {auth: {username: u, password: s3cr3t}}\n",
        ),
        ("containerd", f"{CERTS[1:]}/_default/hosts.toml", 'header = { "X-Other" = "Basic s3cr3ts3cr3t" }\n'),
    ],
)
def test_a_dry_run_shows_no_secrets(
    runtime: str, path: str, text: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(text)
    install.main(["configure", runtime, "--root", str(root), "--dry-run"])
    shown = capsys.readouterr().out
    assert f"+++ b/{path}\n" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("again", [False, True], ids=["once", "configured again"])
@every_tree
def test_what_somebody_edits_later_stays_and_only_our_part_goes(
    tree: NodeTree, again: bool, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.write(root)
    word("configure", tree, root)
    for path in tree.mirrored:
        place = root / path.lstrip("/")
        text = place.read_text()
        edited = text.replace("{", '{"theirs": 1,', 1) if path.endswith("json") else f"{text}\n# theirs\n"
        place.write_text(edited)
    if again:
        word("configure", tree, root)
    word("unconfigure", tree, root)
    said = capsys.readouterr().out
    for path in tree.mirrored:
        text = (root / path.lstrip("/")).read_text()
        assert "theirs" in text
        assert NAME not in text
        assert again or f"{path} was edited since" in said
    assert not (root / "etc/damselfly/configured").exists()


@pytest.mark.parametrize(("tree", "reason"), REFUSED, ids=lambda value: getattr(value, "name", None))
def test_what_cannot_be_read_is_refused_and_nothing_changes(
    tree: NodeTree, reason: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.write(root)
    before = snapshot(root)
    with pytest.raises(SystemExit) as ended:
        word("configure", tree, root)
    assert ended.value.code == 1
    assert reason in capsys.readouterr().err
    assert snapshot(root) == before


@every_tree
def test_a_disk_that_fails_at_any_moment_leaves_whole_files_and_a_way_back(
    tree: NodeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th file that is put in place is not, for every n."""
    really = os.replace
    for number in range(12):
        root = tmp_path / f"node{number}"
        root.mkdir()
        tree.write(root)
        before = snapshot(root)
        left = iter([True] * number)

        def replace(source: str, target: Path, left: object = left) -> None:
            if not next(left, False):  # type: ignore[call-overload]
                raise OSError(28, "No space left on device")
            really(source, target)

        monkeypatch.setattr(os, "replace", replace)
        try:
            word("configure", tree, root)
        except SystemExit:
            failed = True
        else:
            failed = False
        monkeypatch.setattr(os, "replace", really)
        word("unconfigure", tree, root)
        after = {path: value for path, value in snapshot(root).items() if "damselfly" not in path}
        assert after == {path: value for path, value in before.items() if "damselfly" not in path}
        if not failed:
            return
    pytest.fail("more files were written than a node has")


def test_a_second_registry_joins_the_first(root: Path) -> None:
    for name in ("docker.io", "quay.io"):
        install.main(["configure", "crio", "--root", str(root), "--registry", name])
    text = (root / "etc/containers/registries.conf.d/zz-damselfly.conf").read_text()
    assert f"{NAME}/docker.io" in text
    assert f"{NAME}/quay.io" in text


def test_a_mirror_that_moved_is_changed_everywhere(root: Path) -> None:
    tree = next(tree for tree in TREES if tree.name == "GKE")
    tree.write(root)
    before = snapshot(root)
    word("configure", tree, root)
    install.main(["configure", "containerd", "--root", str(root), "--mirror", "127.0.0.1:5001"])
    for path in tree.mirrored:
        text = (root / path.lstrip("/")).read_text()
        assert "127.0.0.1:5001" in text
        assert NAME not in text
    word("unconfigure", tree, root)
    assert snapshot(root) == before


def test_the_runtimes_of_one_node_are_given_back_apart(root: Path) -> None:
    install.main(["configure", "docker", "--root", str(root)])
    docker = snapshot(root)
    install.main(["configure", "crio", "--root", str(root)])
    install.main(["unconfigure", "crio", "--root", str(root)])
    assert snapshot(root) == docker


def test_copies_of_files_with_passwords_are_for_root_only(root: Path) -> None:
    tree = next(tree for tree in TREES if tree.name == "k3s")
    tree.write(root)
    word("configure", tree, root)
    kept = list((root / "etc/damselfly/configured").rglob("*"))
    assert any(path.read_text().find("s3cr3t") >= 0 for path in kept if path.is_file())
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600, 0o700}


def test_a_link_stays_a_link_and_may_not_lead_outside(root: Path, tmp_path: Path) -> None:
    (root / "etc/docker").mkdir(parents=True)
    (root / "real.json").write_text("{}")
    link = root / "etc/docker/daemon.json"
    link.symlink_to("../../real.json")
    before = snapshot(root)
    install.main(["configure", "docker", "--root", str(root)])
    assert link.is_symlink()
    assert URL in (root / "real.json").read_text()
    install.main(["unconfigure", "docker", "--root", str(root)])
    assert snapshot(root) == before

    link.unlink()
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    link.symlink_to(outside)
    with pytest.raises(SystemExit):
        install.main(["configure", "docker", "--root", str(root)])
    assert outside.read_text() == "{}"


def test_the_mirrors_address_comes_from_the_nodes_configuration(root: Path) -> None:
    config = root / "etc/damselfly/dfdaemon.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[mirror]\nlisten = "0.0.0.0:4444"\n')
    assert install.mirror_address(None, None, root) == "127.0.0.1:4444"
    assert install.mirror_address("[::1]:1", None, root) == "[::1]:1"
    assert install.mirror_address("[::]:1", None, root) == "127.0.0.1:1"
    with pytest.raises(ConfigError, match="no fixed port"):
        install.mirror_address("127.0.0.1:0", None, root)
    with pytest.raises(ConfigError, match="--mirror"):
        install.mirror_address("nonsense", None, root)


@pytest.mark.parametrize(
    "words",
    [
        ["configure", "containerd", "--restart"],
        ["configure", "containerd", "--registry", "../x"],
        ["configure", "docker", "--registry", "quay.io"],
        ["configure", "containerd", "--containerd-version", "new"],
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        install.main([*words, "--root", str(root)])
    assert ended.value.code == 1
    assert "dfdaemon configure: " in capsys.readouterr().err
    assert snapshot(root) == {}


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is asked for, and fails while there is a file `broken`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "systemctl"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ ! -e {tmp_path}/broken ]\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tmp_path / "asked"


def here(verb: str, root: Path, *, restart: bool = False, dry_run: bool = False) -> None:
    """Configure Docker, or take it back, as on this machine, whose files are below `root`."""
    wanted = install.Wanted("docker", Path("/"), (), dry_run, restart, "", None)
    journal = Journal(NodeFiles(root), "docker")
    if verb == "configure":
        install.configure(journal, wanted, NAME)
    else:
        install.unconfigure(journal, wanted)


@pytest.mark.parametrize("verb", ["configure", "unconfigure"])
def test_a_restart_that_one_run_only_names_is_done_by_the_next(
    verb: str, root: Path, systemctl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if verb == "unconfigure":
        here("configure", root, restart=True)
        systemctl.unlink()
    here(verb, root)
    here(verb, root)
    here(verb, root, restart=True, dry_run=True)
    assert not systemctl.exists()
    said = capsys.readouterr().out
    assert said.count("\nneeded: systemctl reload docker") == 1
    assert said.count("\nstill needed, if nobody has done it since: systemctl reload docker") == 2

    here(verb, root, restart=True)
    here(verb, root, restart=True)
    here(verb, root)
    assert systemctl.read_text() == "reload docker\n"
    said = capsys.readouterr().out
    assert said.count("done: systemctl reload docker") == 1
    assert "needed:" not in said


@pytest.mark.parametrize("verb", ["configure", "unconfigure"])
def test_a_restart_that_failed_is_done_by_the_next_run(verb: str, root: Path, systemctl: Path) -> None:
    if verb == "unconfigure":
        here("configure", root, restart=True)
    broken = systemctl.with_name("broken")
    broken.touch()
    for _ in range(2):
        with pytest.raises(ConfigError, match="the files are changed, but systemctl reload docker failed"):
            here(verb, root, restart=True)
    broken.unlink()
    systemctl.unlink()
    here(verb, root, restart=True)
    here(verb, root, restart=True)
    assert systemctl.read_text() == "reload docker\n"
    assert not (root / "run/damselfly-restart").exists()


def test_a_copy_that_was_lost_stops_unconfigure_before_it_changes_anything(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = next(tree for tree in TREES if tree.name == "Debian")
    tree.write(root)
    word("configure", tree, root)
    for copy in (root / "etc/damselfly/configured/containerd").glob("*.before"):
        copy.unlink()
    configured = snapshot(root)
    with pytest.raises(SystemExit):
        word("unconfigure", tree, root)
    assert "is missing or was changed" in capsys.readouterr().err
    assert snapshot(root) == configured


def test_two_at_once_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(NodeFiles(root)), pytest.raises(SystemExit):
        install.main(["configure", "docker", "--root", str(root)])
    assert "another dfdaemon configure" in capsys.readouterr().err
    assert snapshot(root) == {}
