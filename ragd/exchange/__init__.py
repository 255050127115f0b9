"""Import and export: DiscordChatExporter's JSON, JSON lines and CSV (https://github.com/Tyrrrz/DiscordChatExporter)."""
