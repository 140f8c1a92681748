"""The reference deployment: an inference gateway, three model servers, a feature store and a load generator.

Real processes with real sockets. Their faults are real too: a stopped process, a refused connection; no flag fakes one.
They know nothing of the site but the address that their telemetry goes to.
"""
