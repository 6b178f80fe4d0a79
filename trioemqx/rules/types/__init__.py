"""What actions can be connected to, a file for each resource type."""
