"""The version of Damselfly, for people and for other hosts. The package takes it from here: to look it up among the
installed packages would cost a daemon a MiB of modules."""

VERSION = "0.1.0.dev0"
