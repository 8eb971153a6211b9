"""The benchmarks' contact with the outside: files, sockets, processes."""
