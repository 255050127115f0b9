"""The part of capture that speaks discord.py: thin event handlers, and the logic beside them."""
