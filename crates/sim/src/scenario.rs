//! Stories in text: what people type and what goes wrong, at which second, and what must come of it.
