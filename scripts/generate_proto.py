"""Generates swarm/rpc from proto/damselfly/v1: messages, stubs and their types.

usage: generate_proto.py [--check]

The proto files are staged under the path that the generated modules shall be imported by, because protoc
derives one from the other: proto/damselfly/v1/attach.proto becomes swarm.rpc.attach_pb2, while its package
stays damselfly.v1.
`--check` writes nothing, and fails when swarm/rpc is not byte for byte what would be generated.
"""

import argparse
import importlib.resources
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto/damselfly/v1"
TARGET = ROOT / "swarm/rpc"
IMPORT_IN_PROTO = 'import "damselfly/v1/'
IMPORT_WHEN_STAGED = 'import "swarm/rpc/'
PROTOC_TIMEOUT_S = 120.0  # takes about one second


def stage(folder: Path) -> list[Path]:
    """Copies the proto files to the place that their generated modules are named for."""
    place = folder / "swarm/rpc"
    place.mkdir(parents=True)
    sources = sorted(SOURCE.glob("*.proto"))
    if not sources:
        sys.exit(f"generate_proto: no .proto file in {SOURCE}")
    for source in sources:
        text = source.read_text(encoding="utf-8").replace(IMPORT_IN_PROTO, IMPORT_WHEN_STAGED)
        (place / source.name).write_text(text, encoding="utf-8")
    return [place / source.name for source in sources]


def run_protoc(folder: Path, staged: list[Path]) -> None:
    """Runs protoc with the Python, gRPC and typing plugins; the output lands in `folder`."""
    scripts = Path(sys.executable).parent
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder}"),
        f"--proto_path={importlib.resources.files('grpc_tools') / '_proto'}",
        *(f"--plugin={name}={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
        *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python")),
        *(f"--{kind}_out=quiet:{folder}" for kind in ("mypy", "mypy_grpc")),
        *map(str, staged),
    ]
    done = subprocess.run(command, cwd=folder, timeout=PROTOC_TIMEOUT_S, check=False)
    if done.returncode:
        sys.exit(f"generate_proto: protoc failed with status {done.returncode}, see above")


def read_generated(folder: Path) -> dict[str, bytes]:
    """The generated files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*_pb2*") if path.suffix in (".py", ".pyi")}


def generate() -> dict[str, bytes]:
    """What swarm/rpc shall hold, by file name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_protoc(folder, stage(folder))
        return read_generated(folder / "swarm/rpc")


def check(wanted: dict[str, bytes], present: dict[str, bytes]) -> int:
    """Names the files that differ; the exit status."""
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    for name in stale:
        print(
            f"generate_proto: swarm/rpc/{name} is not what proto/damselfly/v1 gives; run make proto",
            file=sys.stderr,
        )
    return 1 if stale else 0


def write(wanted: dict[str, bytes], present: dict[str, bytes]) -> int:
    """Makes swarm/rpc hold what is wanted, and nothing else that was generated."""
    for name in present.keys() - wanted.keys():
        (TARGET / name).unlink()
    for name, content in wanted.items():
        (TARGET / name).write_bytes(content)
    return 0


def main() -> int:
    """Generates or checks; the exit status."""
    parser = argparse.ArgumentParser(description="Generate swarm/rpc from proto/damselfly/v1.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail when swarm/rpc is not up to date"
    )
    act = check if parser.parse_args().check else write
    return act(generate(), read_generated(TARGET))


if __name__ == "__main__":
    sys.exit(main())
