"""The daemon of a node: downloads, shares and keeps blobs. Pure."""
