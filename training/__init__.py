"""Makes what ragd ships trained; never runs in the daemon."""
