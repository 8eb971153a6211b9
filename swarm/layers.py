"""Where blobs stand in their images: clients unpack layers in order, so an earlier one is worth more than a later one.

Layers that share a link all arrive at its end. One after the other, the first is unpacked while the next comes.
"""

from typing import NamedTuple

PAUSE_S = 8.0
"""A later layer that got nothing for this long waits no more, until something of it comes: its reader must not think
that it hangs."""

FIRST_PLACE = 1
"""An image's first layer; before it a manifest lists the configuration."""


class Layer(NamedTuple):
    """A place in an image: `image` is the digest of its manifest, `place` counts what that lists from 0 on."""

    image: str
    place: int

    def precedes(self, other: "Layer") -> bool:
        """Tell whether it is unpacked before another layer, of the same image."""
        return self.image == other.image and self.place < other.place
