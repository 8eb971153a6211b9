"""The production machines on a virtual clock and network, from one seed. Pure."""
