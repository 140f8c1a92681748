"""REST of compliance."""
