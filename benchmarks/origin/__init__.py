"""The rules of the embedded origin registry, apart from its sockets: ranges, access, faults, counters."""
