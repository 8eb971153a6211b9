"""kubelet's side of CRI: ImageService of runtime.v1, the three calls and the fields that tests need.

The messages are described here instead of generated, so that they fit whichever protobuf is installed.
Numbers are from kubernetes/cri-api, pkg/apis/runtime/v1/api.proto.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "runtime.v1"
STATUS_S = 10.0

_Field = descriptor_pb2.FieldDescriptorProto

# Message: field -> (number, type). A type that begins with a dot is a message; "*" repeats it.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ImageSpec": {"image": (1, "string")},
    "AuthConfig": {"username": (1, "string"), "password": (2, "string"), "auth": (3, "string")},
    "PullImageRequest": {"image": (1, ".ImageSpec"), "auth": (2, ".AuthConfig")},
    "PullImageResponse": {"image_ref": (1, "string")},
    "ImageStatusRequest": {"image": (1, ".ImageSpec")},
    "Image": {
        "id": (1, "string"),
        "repo_tags": (2, "*string"),
        "repo_digests": (3, "*string"),
        "size": (4, "uint64"),
    },
    "ImageStatusResponse": {"image": (1, ".Image")},
    "RemoveImageRequest": {"image": (1, ".ImageSpec")},
    "RemoveImageResponse": {},
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="tests/cri.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    label = _Field.LABEL_REPEATED if kind.startswith("*") else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if kind.startswith("."):
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}{kind}"
    else:
        field.type = _Field.TYPE_UINT64 if kind == "uint64" else _Field.TYPE_STRING


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    named = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in named.items()}


_CLASSES = _classes()


class ImageService:
    """The image service of a containerd. Errors are grpc.RpcError."""

    def __init__(self, socket_path: Path) -> None:
        self._target = f"unix:{socket_path}"

    def pull(self, image: str, *, timeout_s: float, user: str = "", password: str = "") -> str:
        """PullImage; returns the image's reference."""
        auth = _CLASSES["AuthConfig"](username=user, password=password) if user else None
        answer = self._call("PullImage", {"image": _spec(image), "auth": auth}, timeout_s)
        reference: str = answer.image_ref
        return reference

    def is_initialized(self) -> bool:
        """Whether it takes requests: on a busy machine its socket accepts a moment before that."""
        try:
            self.status("none")
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED  # without CRI there is nothing to wait for
        return True

    def status(self, image: str) -> Any | None:
        """ImageStatus: a message with id, repo_tags, repo_digests and size; None without the image."""
        answer = self._call("ImageStatus", {"image": _spec(image)}, STATUS_S)
        return answer.image if answer.HasField("image") else None

    def remove(self, image: str) -> None:
        """RemoveImage; the content goes with the next garbage collection."""
        self._call("RemoveImage", {"image": _spec(image)}, STATUS_S)

    def _call(self, method: str, fields: Mapping[str, Any], timeout_s: float) -> Any:
        request = _CLASSES[f"{method}Request"](**fields)
        with grpc.insecure_channel(self._target) as channel:
            call: Callable[..., Any] = channel.unary_unary(
                f"/{PACKAGE}.ImageService/{method}",
                request_serializer=lambda message: bytes(message.SerializeToString()),
                response_deserializer=_CLASSES[f"{method}Response"].FromString,
            )
            return call(request, timeout=timeout_s)


def _spec(image: str) -> Any:
    return _CLASSES["ImageSpec"](image=image)
