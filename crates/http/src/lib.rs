//! The only crate that serves HTTP: the APIs of Prometheus, Loki, Alertmanager and Grafana, Vigie's
//! own, and the web UI, which it embeds.
//!
//! [`router`] says which address is answered by whom; the modules named after an original hold its
//! shapes, status codes and words, exactly. Handlers own nothing: they reach the engine and the two
//! views ([`views`]) through [`state::State`], and run what blocks on threads that may.
//!
//! Invariants: an unknown path under an API is 404 with the original's body, never the UI; every
//! body, connection and queue has a limit; nothing that a client sends reaches a page as markup.

#![forbid(unsafe_code)]

mod alertmanager;
mod body;
mod compress;
pub mod content;
mod documents;
mod error;
mod guard;
mod held;
mod json;
mod loading;
mod loki;
mod metadata;
mod nearness;
mod notices;
mod own;
mod params;
mod prometheus;
mod queries;
pub mod router;
mod runbooks;
mod serve;
mod starting;
pub mod state;
mod ui;
pub mod views;

pub use guard::Hosts;
pub use loading::{JobSettings, LastReading, Loaded, Loading, Reload, ReloadRequests, Reloaded};
pub use loki::parse_time_ns as parse_loki_time_ns;
pub use metadata::Metadata;
pub use notices::{Notice, Notices};
pub use params::parse_time_ms;
pub use serve::{Door, bind, serve};
pub use state::{Parts, Settings, State};

/// The version of Prometheus whose API this is; clients choose features by it.
pub const PROMETHEUS_VERSION: &str = "3.14.0";
/// The version of Loki whose API this is.
pub const LOKI_VERSION: &str = "3.7.6";
/// The version of Alertmanager whose API this is.
pub const ALERTMANAGER_VERSION: &str = "0.34.0";
