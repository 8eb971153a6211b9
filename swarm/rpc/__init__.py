"""The gRPC messages and stubs, generated from proto/damselfly/v1 by scripts/generate_proto.py."""
