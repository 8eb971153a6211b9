"""Measuring Damselfly: what the `dfbench` command and `make demo` stand on."""
