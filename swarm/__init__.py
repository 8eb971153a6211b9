"""What every process of the swarm must agree on: digests, ids, pieces, the peer wire, errors and limits. Pure."""
