"""A local Discord (gateway and REST on loopback) for the demo and the tests; the daemon never imports it."""
