"""Pages of the room, and the door for inbound webhooks."""
