import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from swarm.errors import ConfigError
from swarm.io.config_file import is_there, load
from swarm.settings import require, setting
from tests.support.unprivileged import as_nobody


@dataclass(frozen=True, slots=True)
class Upstream:
    name: str = setting("", "Its name.")
    retries: int = setting(3, "How often.")

    def __post_init__(self) -> None:
        require(bool(self.name), "upstreams.name", self.name, "it needs one")


@dataclass(frozen=True, slots=True)
class Inner:
    upstreams: tuple[Upstream, ...] = setting((), "What to ask.")
    listen: str = setting("127.0.0.1:1", "Where.")
    quota_bytes: int = setting(1 << 20, "How much.")
    timeout_s: float = setting(2.5, "How long.")
    slots_max: int = setting(4, "How many.")

    def __post_init__(self) -> None:
        require(1 <= self.slots_max <= 64, "inner.slots_max", self.slots_max, "1 to 64")


@dataclass(frozen=True, slots=True)
class Config:
    host: str = setting("", "Who.")
    seed: bool = setting(False, "Whether.")
    addresses: tuple[str, ...] = setting((), "Which.")
    share: float = setting(0.5, "100 % is one.")
    inner: Inner = setting(Inner, "The inner part.")


def read(*argv: str, environ: Mapping[str, str] | None = None) -> Config:
    return load(Config, argv, "dfthing", "A thing.", environ or {})


def refusal(*argv: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*argv, environ=environ)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "thing.toml"
    path.write_text('host = "from-file"\n[inner]\nlisten = "file:1"\nslots_max = 7\n')
    return path


def test_nothing_given_means_the_defaults() -> None:
    assert read() == Config()


def test_a_file_is_read(file: Path) -> None:
    assert read("--config", str(file)) == Config(host="from-file", inner=Inner(listen="file:1", slots_max=7))
    assert read(environ={"DFTHING_CONFIG": str(file)}).host == "from-file"


def test_flags_win_over_variables_over_the_file_over_defaults(file: Path) -> None:
    environ = {"DFTHING_INNER_LISTEN": "variable:1", "DFTHING_INNER_SLOTS_MAX": "8", "OTHER_HOST": "x"}
    config = read("--config", str(file), "--inner.slots_max", "9", environ=environ)
    assert config.host == "from-file"
    assert config.inner == Inner(listen="variable:1", slots_max=9)


@pytest.mark.parametrize(
    "flag", ["--inner.slots_max=9", "--inner-slots-max=9", "--inner.slots-max=9", "--inner_slots_max=9"]
)
def test_a_flag_may_be_written_with_dashes(flag: str) -> None:
    assert read(flag).inner.slots_max == 9


@pytest.mark.parametrize(
    ("flag", "config"),
    [
        ("--seed", Config(seed=True)),
        ("--seed=no", Config(seed=False)),
        ("--addresses=a:1, b:2", Config(addresses=("a:1", "b:2"))),
        ("--addresses=", Config(addresses=())),
        ("--share=2", Config(share=2.0)),
        ("--inner.quota_bytes=64MiB", Config(inner=Inner(quota_bytes=64 << 20))),
        ("--inner.quota_bytes=1.5 GB", Config(inner=Inner(quota_bytes=1_500_000_000))),
        ("--inner.quota_bytes=2Gi", Config(inner=Inner(quota_bytes=2 << 30))),
        ("--inner.quota_bytes=10MB/s", Config(inner=Inner(quota_bytes=10_000_000))),
        ("--inner.timeout_s=500ms", Config(inner=Inner(timeout_s=0.5))),
        ("--inner.timeout_s=2m", Config(inner=Inner(timeout_s=120.0))),
        ("--inner.timeout_s=3", Config(inner=Inner(timeout_s=3.0))),
        ('--inner.upstreams=[{"name":"x","retries":1}]', Config(inner=Inner(upstreams=(Upstream("x", 1),)))),
    ],
)
def test_values_are_read_by_their_type(flag: str, config: Config) -> None:
    assert read(flag) == config
    name, _, text = flag.removeprefix("--").partition("=")
    variable = "DFTHING_" + name.replace(".", "_").upper()
    assert read(environ={variable: text or "true"}) == config or text == ""


def test_a_file_has_types_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'seed = true\naddresses = ["a:1"]\nshare = 1\n[inner]\nquota_bytes = "2KiB"\ntimeout_s = "20s"\n'
        '[[inner.upstreams]]\nname = "x"\n[[inner.upstreams]]\nname = "y"\nretries = 0\n'
    )
    inner = Inner(upstreams=(Upstream("x"), Upstream("y", 0)), quota_bytes=2048, timeout_s=20.0)
    assert read("--config", str(path)) == Config(seed=True, addresses=("a:1",), share=1.0, inner=inner)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ('hots = "x"', ["unknown key 'hots'", "did you mean 'host'?", "x.toml"]),
        ("[inner]\nslot_max = 3", ["unknown key 'inner.slot_max'", "did you mean 'inner.slots_max'?"]),
        ("slots_max = 3", ["unknown key 'slots_max'", "did you mean 'inner.slots_max'?"]),
        ("[iner]\nlisten = 3", ["unknown key 'iner'"]),
        ("seed = 1", ["seed = 1 is not allowed: expected true or false"]),
        ("host = 1", ["host = 1 is not allowed: expected a text"]),
        ('host = "a\\u0007"', ["host = ", "expected a text"]),
        ('share = "1"', ["share = '1' is not allowed: expected a number"]),
        ("[inner]\nslots_max = true", ["inner.slots_max = True is not allowed: expected a whole number"]),
        ("[inner]\nslots_max = 2.5", ["inner.slots_max = 2.5"]),
        ('[inner]\nquota_bytes = "5 parsecs"', ["inner.quota_bytes = '5 parsecs'", "64MiB"]),
        ('[inner]\nquota_bytes = "50_GiB"', ["inner.quota_bytes = '50_GiB'", "64MiB"]),
        ('[inner]\nquota_bytes = "1__0"', ["inner.quota_bytes = '1__0'", "x.toml"]),
        ('[inner]\ntimeout_s = "soon"', ["inner.timeout_s = 'soon'", "500ms"]),
        ('addresses = "a:1"', ["addresses = 'a:1' is not allowed: expected a list"]),
        ("[[inner.upstreams]]\nnam = 1", ["unknown key 'inner.upstreams.nam'", "'inner.upstreams.name'"]),
        ("[[inner.upstreams]]\nretries = 1", ["upstreams.name = ''", "it needs one", "x.toml"]),
        ("[inner]\nslots_max = 65", ["inner.slots_max = 65 is not allowed: 1 to 64", "from ", "x.toml"]),
        ("inner = 3", ["inner = 3 is not allowed: expected a table"]),
        ("host == 1", ["x.toml is not valid TOML", "line 1"]),
    ],
)
def test_a_mistake_in_the_file_says_what_and_where(tmp_path: Path, content: str, parts: list[str]) -> None:
    path = tmp_path / "x.toml"
    path.write_text(content)
    said = refusal("--config", str(path))
    assert [part for part in parts if part not in said] == []


def test_a_folder_that_this_user_may_not_search_is_told(tmp_path: Path) -> None:
    assert not is_there(tmp_path / "x.toml")
    (tmp_path / "x.toml").touch()
    assert is_there(tmp_path / "x.toml")
    tmp_path.chmod(0o000)
    with (
        as_nobody(),
        pytest.raises(ConfigError, match=r"x\.toml cannot be looked for \(Permission denied\): let"),
    ):
        is_there(tmp_path / "x.toml")
    tmp_path.chmod(0o700)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "nothing.toml cannot be read: No such file" in refusal("--config", str(tmp_path / "nothing.toml"))
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (1 << 21))
    assert "large.toml is larger than" in refusal("--config", str(path))
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in refusal("--config", str(path))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--inner.slot_max=3"], "unknown argument '--inner.slot_max': did you mean '--inner.slots_max'?"),
        (["extra"], "unknown argument 'extra'"),
        (["--host"], "argument --host: expected one argument"),
        (
            ["--seed=perhaps"],
            "seed = 'perhaps' is not allowed: expected true or false (from the flag --seed)",
        ),
        (
            ["--inner-slots-max=0"],
            "inner.slots_max = 0 is not allowed: 1 to 64 (from the flag --inner.slots_max)",
        ),
        (["--inner.slots_max=many"], "inner.slots_max = 'many' is not allowed: expected a whole number"),
        (["--inner.upstreams={"], "inner.upstreams: expected a JSON list of objects"),
        (["--inner.upstreams={}"], "inner.upstreams = {} is not allowed: expected a list of tables"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_flag(argv: list[str], said: str) -> None:
    assert said in refusal(*argv)


def test_an_unknown_variable_with_our_prefix_is_a_mistake() -> None:
    said = refusal(environ={"DFTHING_INNER_LISTN": "x"})
    assert said == "unknown environment variable 'DFTHING_INNER_LISTN': did you mean 'DFTHING_INNER_LISTEN'?"
    links = {
        "DFTHING_SERVICE_HOST": "10.0.0.1",
        "DFTHING_SERVICE_PORT_GRPC": "1",
        "DFTHING_PORT": "tcp://10.0.0.1:1",
        "DFTHING_PEERS_PORT_4002_TCP_ADDR": "10.0.0.1",
        "DFTHINGS": "x",
    }
    assert read(environ=links) == Config()


def test_a_password_in_an_url_is_not_repeated() -> None:
    said = refusal(
        '--inner.upstreams=[{"name": "https://me:s3cr3t@host", "retries": "https://me:s3cr3t@host"}]'
    )
    assert "s3cr3t" not in said
    assert "https://me:***@host" in said


def test_print_config_shows_what_is_in_force_and_can_be_read(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--config", str(file), "--seed", '--inner.upstreams=[{"name":"x"}]', "--addresses=a:1"]
    with pytest.raises(SystemExit) as ended:
        read(*argv, "--print-config", environ={"DFTHING_SHARE": "0.25"})
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"# Who. (from {file})\n" in printed
    assert "# Whether. (from the flag --seed)\nseed = true\n" in printed
    assert "# 100 % is one. (from the environment variable DFTHING_SHARE)\nshare = 0.25\n" in printed
    assert "# How long.\ntimeout_s = 2.5\n" in printed
    again = tmp_path / "again.toml"
    again.write_text(printed)
    assert read("--config", str(again)) == read(*argv, environ={"DFTHING_SHARE": "0.25"})


def test_help_names_every_key_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for text in (
        "--host TEXT Who.",
        "--share NUMBER 100 % is one. Default: 0.5",
        '--inner.quota_bytes BYTES How much. Default: "1MiB"',
    ):
        assert text in shown


def test_version_names_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--version")
    assert capsys.readouterr().out.startswith("dfthing 0.")


def test_json_and_toml_agree() -> None:
    tables = [{"name": "x"}, {"name": "y", "retries": 9}]
    assert read(f"--inner.upstreams={json.dumps(tables)}").inner.upstreams == (
        Upstream("x"),
        Upstream("y", 9),
    )
