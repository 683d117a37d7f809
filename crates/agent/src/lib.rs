//! dwcp-agentd: runs virtual machines under a lease.
