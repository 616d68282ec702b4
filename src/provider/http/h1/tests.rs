//! Answers as upstreams send them, and as none should: in pieces, cut, and made to be read in two ways.

mod bodies;
mod connections;
mod heads;
