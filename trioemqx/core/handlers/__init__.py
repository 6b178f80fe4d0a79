"""What a channel does with each family of packets, one file each: connect, publish, acks, subscribe, leave, auth."""
