//! dwcp-cli: the operator's command.
