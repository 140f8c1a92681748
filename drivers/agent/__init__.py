"""The agent: the same actions on another host, asked for by polling outwards. It listens on nothing.

It is built into one file with what it needs (`manage.py agent build`) and knows nothing of Django or the database.
Every fault is written to a file before it is injected, and a watchdog process in a session of its own takes it back
when its time is up, when the site has not been heard for a while, or when the agent is dead.
"""
