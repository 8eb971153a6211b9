"""How many parents hold each piece, counted for all pieces at once.

The counts are kept as binary digits, one bitmap per digit: bit i of plane k is digit k of piece i's count. Adding a
parent's whole bitmap is a ripple of carries, a few operations on integers however many pieces there are.
"""


class Rarity:
    """Counts of holders per piece."""

    __slots__ = ("_planes",)

    def __init__(self) -> None:
        self._planes: list[int] = []

    def add(self, bits: int) -> None:
        """Count one more holder of each of these pieces."""
        planes = self._planes
        for place in range(len(planes)):
            planes[place], bits = planes[place] ^ bits, planes[place] & bits
            if not bits:
                return
        if bits:
            planes.append(bits)

    def remove(self, bits: int) -> None:
        """Count one holder less of each of these pieces; each was counted."""
        planes = self._planes
        for place in range(len(planes)):
            planes[place], bits = planes[place] ^ bits, ~planes[place] & bits
            if not bits:
                break
        assert not bits, f"pieces {bits:#x} had no holder to lose"
        while planes and not planes[-1]:
            planes.pop()

    def rarest(self, bits: int) -> int:
        """Return those of these pieces that have the fewest holders."""
        for plane in reversed(self._planes):
            bits = bits & ~plane or bits
        return bits

    def count(self, index: int) -> int:
        """Return how many hold one piece."""
        return sum((plane >> index & 1) << place for place, plane in enumerate(self._planes))
