"""The rule engine: SQL over messages and events, and actions for what it selects."""
