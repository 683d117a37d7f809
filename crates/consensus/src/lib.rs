//! Many Raft groups in one process, driven synchronously: no clock, no disk, no socket.
