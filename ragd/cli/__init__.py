"""The command lines: `ragd` runs processes, `ragdctl` talks to them."""
