"""Configuration files of nodes as distributions ship them, reduced to what matters for registries.

Each tree is a mapping from path to text; a path that ends in / is a folder. Written after: amazon-eks-ami (AL2 and
nodeadm), GKE's and AKS's config.toml on nodes, kind's node image, k3s's registries.yaml, Talos's /etc/cri, the
Debian and Ubuntu packages, Docker's containerd.io package, Fedora's containers-common.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

Files = Mapping[str, str]

CRI2 = 'plugins."io.containerd.grpc.v1.cri"'
CRI3 = "plugins.'io.containerd.cri.v1.images'"
CONFIG = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"


@dataclass(frozen=True)
class NodeTree:
    """A node: which runtime it has, with which options dfdaemon is called, and its files.

    `restarts`: whether the runtime has to read its configuration again. `mirrored`: files that name our mirror then.
    """

    name: str
    runtime: str
    files: Files
    mirrored: tuple[str, ...]
    options: tuple[str, ...] = ()
    restarts: bool = False

    def write(self, root: Path) -> None:
        """Write the files below a folder."""
        for path, text in self.files.items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                place.mkdir(exist_ok=True)
            else:
                place.write_text(text, newline="")
                place.chmod(0o600 if "registries.yaml" in path else 0o644)


EKS_AL2 = f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
imports = ["/etc/containerd/config.d/*.toml"]

[grpc]
address = "/run/containerd/containerd.sock"

[{CRI2}.containerd]
default_runtime_name = "runc"
discard_unpacked_layers = true

[{CRI2}]
sandbox_image = "602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3.5"

[{CRI2}.registry]
config_path = "{CERTS}:/etc/docker/certs.d"

[{CRI2}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
EKS_AL2023 = f"""\
version = 3
root = "/var/lib/containerd"

[{CRI3}]
discard_unpacked_layers = true

[{CRI3}.pinned_images]
sandbox = "localhost/kubernetes/pause"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{CERTS}:/etc/docker/certs.d"

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
"""
GKE_MIRRORS = f"""\
version = 2
required_plugins = ["io.containerd.grpc.v1.cri"]
disabled_plugins = ["io.containerd.internal.v1.restart"]
oom_score = -999

[{CRI2}.cni]
  bin_dir = "/home/kubernetes/bin"
[{CRI2}.registry.mirrors."docker.io"]
  endpoint = ["https://mirror.gcr.io","https://registry-1.docker.io"]
"""
GKE = f"""\
version = 2
oom_score = -999

[{CRI2}]
  stream_server_address = "127.0.0.1"
  [{CRI2}.registry]
    config_path = "{CERTS}"
"""
GKE_HOSTS = """\
server = "https://registry-1.docker.io"

[host."https://mirror.gcr.io"]
  capabilities = ["pull", "resolve"]
"""
AKS = f"""\
version = 2
oom_score = -999
[{CRI2}]
  sandbox_image = "mcr.microsoft.com/oss/kubernetes/pause:3.6"
  [{CRI2}.registry]
    config_path = "{CERTS}"
  [{CRI2}.registry.headers]
    X-Meta-Source-Client = ["azure/aks"]
[metrics]
  address = "0.0.0.0:10257"
"""
KIND = f"""\
# explicitly use v2 config format
version = 2

[proxy_plugins]
[proxy_plugins."fuse-overlayfs"]
  type = "snapshot"

[{CRI2}.containerd]
  # save disk space when using a single snapshotter
  discard_unpacked_layers = true
  snapshotter = "overlayfs"

[{CRI2}]
  tolerate_missing_hugepages_controller = true
"""
KIND_LOCAL = '[host."http://kind-registry:5000"]\n'
TALOS = """\
version = 3

disabled_plugins = [
    "io.containerd.internal.v1.tracing",
    "io.containerd.ttrpc.v1.otelttrpc",
]

imports = [
    "/etc/cri/conf.d/cri.toml",
]
"""
TALOS_CRI = f"""\
version = 3

[{CRI3}]
  discard_unpacked_layers = true

  [{CRI3}.registry]
    config_path = '/etc/cri/conf.d/hosts'
"""
TALOS_HOSTS = """\
[host]
  [host.'https://registry-1.docker.io']
    capabilities = ['pull', 'resolve']
  [host.'https://registry-2.docker.io']
    capabilities = ['pull', 'resolve']
    skip_verify = true
"""
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
UBUNTU_DEFAULTS = f"""\
disabled_plugins = []
imports = []
version = 2

[plugins]

  [{CRI2}]
    sandbox_image = "registry.k8s.io/pause:3.8"

    [{CRI2}.registry]
      config_path = ""

      [{CRI2}.registry.auths]

      [{CRI2}.registry.configs]

      [{CRI2}.registry.mirrors]

    [{CRI2}.x509_key_pair_streaming]
      tls_cert_file = ""
"""
CONTAINERD_2_DEFAULTS = f"""\
version = 3
[plugins]
  [{CRI3}]
    discard_unpacked_layers = false
    [{CRI3}.registry]
      config_path = '{CERTS}:/etc/docker/certs.d'
"""
DOCKERS_CONTAINERD = """\
#   Copyright 2018-2022 Docker Inc.

disabled_plugins = ["cri"]

#root = "/var/lib/containerd"
#[debug]
#  level = "info"
"""
K3S = """\
# managed by hand
mirrors:
  docker.io:
    endpoint:
      - "https://mirror.internal:5000"  # near
    rewrite:
      "^rancher/(.*)": "mirror/rancher/$1"
  "*":
configs:
  "mirror.internal:5000":
    auth:
      username: node
      password: s3cr3t
"""
FEDORA = """\
# For more information, see containers-registries.conf(5).
unqualified-search-registries = ["registry.fedoraproject.org", "docker.io"]
short-name-mode = "enforcing"

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.internal/hub"
"""
DAEMON_JSON = """\
{
    "log-driver": "json-file",
    "registry-mirrors": ["https://mirror.gcr.io"],
    "storage-driver": "overlay2"
}"""

ZZ = "/etc/containers/registries.conf.d/zz-damselfly.conf"
DEFAULT = f"{CERTS}/_default/hosts.toml"
DOCKER_IO = f"{CERTS}/docker.io/hosts.toml"
DAMSELFLY: Files = MappingProxyType({"/etc/damselfly/dfdaemon.toml": 'log_level = "info"\n'})

TREES = [
    NodeTree("EKS on Amazon Linux 2", "containerd", {CONFIG: EKS_AL2}, (DEFAULT,)),
    NodeTree(
        "EKS, a registry's folder in Docker's directory",
        "containerd",
        {CONFIG: EKS_AL2, "/etc/docker/certs.d/a.example/ca.crt": "PEM\n"},
        ("/etc/docker/certs.d/_default/hosts.toml", "/etc/docker/certs.d/a.example/hosts.toml"),
        ("--registry", "_default", "--registry", "a.example"),
    ),
    NodeTree(
        "EKS on Amazon Linux 2023",
        "containerd",
        {CONFIG: EKS_AL2023, f"{CERTS}/": "", "/etc/docker/certs.d/": ""},
        (DEFAULT,),
        ("--containerd-version", "2.1.4"),
    ),
    NodeTree(
        "GKE",
        "containerd",
        {CONFIG: GKE, DOCKER_IO: GKE_HOSTS},
        (DEFAULT, DOCKER_IO),
        ("--registry", "docker.io", "--registry", "_default"),
    ),
    NodeTree("AKS", "containerd", {CONFIG: AKS, **DAMSELFLY}, (DEFAULT,)),
    NodeTree(
        "kind with a local registry",
        "containerd",
        {CONFIG: KIND, f"{CERTS}/localhost:5001/hosts.toml": KIND_LOCAL},
        (f"{CERTS}/localhost:5001/hosts.toml", DEFAULT),
        ("--registry", "localhost:5001", "--registry", "*"),
        restarts=True,
    ),
    NodeTree(
        "Talos",
        "containerd",
        {
            "/etc/cri/containerd.toml": TALOS,
            "/etc/cri/conf.d/cri.toml": TALOS_CRI,
            "/etc/cri/conf.d/hosts/docker.io/hosts.toml": TALOS_HOSTS,
        },
        ("/etc/cri/conf.d/hosts/docker.io/hosts.toml", "/etc/cri/conf.d/hosts/_default/hosts.toml"),
        (
            *("--containerd-config", "/etc/cri/containerd.toml", "--containerd-version", "2.1"),
            *("--registry", "docker.io", "--registry", "_default"),
        ),
    ),
    NodeTree("Debian", "containerd", {CONFIG: DEBIAN}, (DEFAULT,), restarts=True),
    NodeTree(
        "Ubuntu without a configuration", "containerd", {"/etc/hostname": "n\n"}, (DEFAULT,), restarts=True
    ),
    NodeTree(
        "Ubuntu with written defaults", "containerd", {CONFIG: UBUNTU_DEFAULTS}, (DEFAULT,), restarts=True
    ),
    NodeTree(
        "containerd 2.2 with written defaults",
        "containerd",
        {CONFIG: CONTAINERD_2_DEFAULTS},
        (DEFAULT,),
        ("--containerd-version", "2.2.0"),
        restarts=True,
    ),
    NodeTree("Docker's containerd", "containerd", {CONFIG: DOCKERS_CONTAINERD}, (DEFAULT,)),
    NodeTree(
        "a registry with certificates only",
        "containerd",
        {CONFIG: GKE, f"{CERTS}/a.example_5000_/ca.crt": "PEM\n"},
        (f"{CERTS}/a.example_5000_/hosts.toml",),
        ("--registry", "a.example:5000"),
    ),
    NodeTree(
        "lines that end as on Windows",
        "containerd",
        {CONFIG: DEBIAN.replace("\n", "\r\n")},
        (DEFAULT,),
        restarts=True,
    ),
    NodeTree(
        "k3s",
        "k3s",
        {"/etc/rancher/k3s/registries.yaml": K3S},
        ("/etc/rancher/k3s/registries.yaml",),
        restarts=True,
    ),
    NodeTree(
        "k3s as installed",
        "k3s",
        {"/etc/rancher/k3s/k3s.yaml": "a: 1\n"},
        ("/etc/rancher/k3s/registries.yaml",),
        restarts=True,
    ),
    NodeTree("CRI-O on Fedora", "crio", {"/etc/containers/registries.conf": FEDORA}, (ZZ,), restarts=True),
    NodeTree(
        "Docker on Ubuntu",
        "docker",
        {"/etc/docker/daemon.json": DAEMON_JSON},
        ("/etc/docker/daemon.json",),
        restarts=True,
    ),
    NodeTree(
        "Docker as installed",
        "docker",
        {"/etc/docker/key.json": "{}"},
        ("/etc/docker/daemon.json",),
        restarts=True,
    ),
]

REFUSED = [
    (NodeTree("GKE with mirrors", "containerd", {CONFIG: GKE_MIRRORS}, ()), "deprecated registry.mirrors"),
    (NodeTree("not TOML", "containerd", {CONFIG: "version ="}, ()), "is not valid TOML"),
    (
        NodeTree("a hosts.toml that is none", "containerd", {CONFIG: GKE, DEFAULT: "["}, ()),
        "is not valid TOML",
    ),
    (NodeTree("not YAML", "k3s", {"/etc/rancher/k3s/registries.yaml": "a: ["}, ()), "is not valid YAML"),
    (NodeTree("not JSON", "docker", {"/etc/docker/daemon.json": "{,}"}, ()), "is not valid JSON"),
    (NodeTree("not a folder", "containerd", {CONFIG: GKE, CERTS: "a file"}, ()), "cannot be"),
]
"""Nodes on which nothing may change, and what is said."""
