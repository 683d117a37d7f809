//! The metric store: taken in, read back, flushed, put together, thinned out, killed, torn, damaged; against a plain map.

mod store;
