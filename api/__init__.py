"""The Clients API: reads the published warehouse, writes events into the day's journal."""
