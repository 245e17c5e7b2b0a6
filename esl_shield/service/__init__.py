"""What every long-running process shares: logs, metrics, hardening, signals, and how each role is composed."""
