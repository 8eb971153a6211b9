"""What the processes share towards the outside: clock, configuration, channels, telemetry."""
