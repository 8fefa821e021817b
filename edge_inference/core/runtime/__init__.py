"""What a stage runs on: mailbox, worker, latency, health and limits."""
