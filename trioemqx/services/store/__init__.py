"""What must outlive a restart: the `Store` protocol and its implementations."""
