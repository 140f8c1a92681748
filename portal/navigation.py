from core.navigation import Entry, add_entry

add_entry(Entry("", "Now", "portal:home", "home", 0, lambda _principal: True))
