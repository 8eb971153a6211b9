"""The daemon's outside: registry mirror, peers, origin, blob store, scheduler stream."""
