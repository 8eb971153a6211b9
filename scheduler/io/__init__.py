"""The scheduler's outside: its gRPC service, its single writer, its state store."""
