"""In which image a layer is wanted: clients read the manifest, then ask for what it lists, in no certain order."""

from collections import OrderedDict
from collections.abc import Iterable

from swarm.ids import TaskId
from swarm.layers import Layer

LAYERS_MAX = 16_384
"""Layers remembered, 5 MiB; those that were listed least recently go first, and are blobs like any other then."""


class LayerBook:
    """Layers by task. What it knows is worth a place in a queue, and nothing else: nobody needs to prove it."""

    def __init__(self) -> None:
        self._layers: OrderedDict[TaskId, Layer] = OrderedDict()

    def listed(self, image: str, layers: Iterable[TaskId]) -> None:
        """A manifest was read; a layer that is in several images is one of the image read last."""
        for place, task in enumerate(dict.fromkeys(layers)):
            self._layers[task] = Layer(image, place)
            self._layers.move_to_end(task)
        while len(self._layers) > LAYERS_MAX:
            self._layers.popitem(last=False)

    def find(self, task: TaskId) -> Layer | None:
        """Return where a blob stands in its image, if that is known."""
        return self._layers.get(task)
