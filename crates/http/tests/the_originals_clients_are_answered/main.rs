//! Requests that other people's programs send (Grafana, promtool, amtool, logcli, browsers), answered
//! by the router with the originals' status codes, content types, shapes and words.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod doors;
mod federation;
mod golden;
mod grafana;
mod lines;
mod otlp;
mod prometheus;
mod queries;
mod recorded;
mod remote_write;
mod rules;
mod starts;
mod strangers;
mod support;
mod words;
