"""What rules do with what they have selected, a file for each action."""
