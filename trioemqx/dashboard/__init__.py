"""What the dashboard needs of the server: its files, its sessions, and the figures that its charts show."""
