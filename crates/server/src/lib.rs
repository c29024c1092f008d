//! The binary `larder` as a library: configuration, command line, logging, metrics and health, exit statuses.
//!
//! Deliberately not here: what data is (`keyspace`), what commands do (`commands`), how a node runs (`node`).

pub mod admin;
pub mod allocator;
pub mod cli;
pub mod clients;
pub mod config;
pub mod connection;
pub mod data_dir;
pub mod descriptors;
pub mod distribution;
pub mod exit;
pub mod feed;
pub mod host;
pub mod http;
pub mod import;
pub mod info;
pub mod inspect;
pub mod latency_monitor;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod monitor;
pub mod node_metrics;
pub mod pause;
pub mod process;
pub mod serve;
pub mod size;
pub mod slow_log;
pub mod statistics;
pub mod tls;
pub mod users;
