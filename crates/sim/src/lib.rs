//! Five regions, their networks, disks and hosts in one thread under one seed, with checkers.
