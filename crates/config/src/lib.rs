//! Configuration text to validated settings, every error at once with line and column.
