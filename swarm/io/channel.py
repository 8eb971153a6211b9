"""How gRPC is set up on both ends of the Attach stream, so that they agree."""

from swarm.io.attach_codec import MESSAGE_BYTES_MAX

KEEPALIVE_S = 10.0
"""Pause between pings on a quiet connection, and how long the answer may take: a dead host's stream ends in 20 s."""

Options = list[tuple[str, int]]


def server_options(keepalive_s: float = KEEPALIVE_S) -> Options:
    """Return the options of a server."""
    return [
        *_both(keepalive_s),
        # A second process on the same port would get half of the daemons: that must fail at the start.
        ("grpc.so_reuseport", 0),
        # Both sides ping; without these the server takes the client's pings for an attack.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", int(keepalive_s * 500)),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def client_options(keepalive_s: float = KEEPALIVE_S) -> Options:
    """Return the options of a client."""
    return [
        *_both(keepalive_s),
        # Each attempt is a connection of its own, without the pauses that gRPC keeps for an address: ours jitter.
        ("grpc.use_local_subchannel_pool", 1),
        # A node's proxy settings are for the world outside, not for the scheduler.
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]


def _both(keepalive_s: float) -> Options:
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", int(keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive_s * 1000)),
        # The keepalive's time-out counts only when no byte at all arrives; this one holds for every ping.
        ("grpc.http2.ping_timeout_ms", int(keepalive_s * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
