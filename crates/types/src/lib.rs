//! Ids, quantities, time, error codes and the tagged binary codec: the words every other package uses.
