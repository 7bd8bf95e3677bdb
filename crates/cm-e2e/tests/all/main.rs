//! The real binary, end to end. One integration binary, one module per promise.

mod confidentiality;
mod contract;
mod crash;
mod demo;
mod limits;
mod routes;
mod tamper;
