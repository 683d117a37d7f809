//! dwcpd: the control plane of one region.
