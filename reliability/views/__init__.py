"""The room's pages and the OTLP receiver."""
