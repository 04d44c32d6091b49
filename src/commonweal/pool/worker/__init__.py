"""The member's client: joins a hub over outbound HTTPS and runs the executors that it was installed with."""
