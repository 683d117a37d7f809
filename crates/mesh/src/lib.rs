//! QUIC links with mutual TLS between regions and between agents and their region, over an emulated WAN in development.
