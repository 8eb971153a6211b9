"""How gRPC is set up on both ends of the Attach stream, so that they agree."""

from swarm.io.attach_codec import MESSAGE_BYTES_MAX

KEEPALIVE_S = 10.0
"""Pause between pings on a quiet connection."""
KEEPALIVE_TIMEOUT_S = 10.0
"""A ping without an answer for so long means a dead host: its stream is over within 20 s."""

Options = list[tuple[str, int]]

_BOTH: Options = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1000)),
    ("grpc.http2.max_pings_without_data", 0),
]
SERVER_OPTIONS: Options = [
    *_BOTH,
    # A second process on the same port would get half of the daemons: that must fail at the start.
    ("grpc.so_reuseport", 0),
    # Both sides ping; without these the server takes the client's pings for an attack.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", int(KEEPALIVE_S * 500)),
    ("grpc.http2.max_ping_strikes", 0),
]
CLIENT_OPTIONS: Options = [
    *_BOTH,
    # Each attempt is a connection of its own, without the pauses that gRPC keeps for an address: ours jitter.
    ("grpc.use_local_subchannel_pool", 1),
    # A node's proxy settings are for the world outside, not for the scheduler.
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]
