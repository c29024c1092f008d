//! Parameters of Redis and Valkey that Larder accepts so that clients and tools go on working, and that change
//! nothing: CONFIG GET answers what CONFIG SET gave, after the same checks.
//!
//! Deliberately not: a promise. A parameter moves to `table.rs` when it gets an effect.
//!
//! Left out, and why: parameters of features whose absence a client must notice (ciphers of TLS, modules,
//! replication targets beyond an empty `replicaof`) answer "unknown option" rather than pretend.
//!
//! Source: the config table of Valkey 9's `config.c`; which of them redis-py, RedisInsight, redis-benchmark
//! and the Tcl test suite read or set.

use super::Reload::{self, Live, Protected, Start};
use super::kind::{Choice, Kind};
use super::{Effect, Group, Setting, special};

/// A row that has no alias.
const fn plain(name: &'static str, kind: Kind, default: &'static str, reload: Reload) -> Setting {
    row(name, &[], kind, default, reload)
}

const fn row(
    name: &'static str,
    also: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    reload: Reload,
) -> Setting {
    let (effect, group) = (Effect::Accepted, Group::Compatibility);
    Setting { name, also, kind, default, reload, effect, group, summary: "Accepted and given back; changes nothing" }
}

/// A row that CONFIG GET finds by its full name only.
const fn hidden(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { effect: Effect::Hidden, ..plain(name, kind, default, Live) }
}

const fn upto(max: i64) -> Kind {
    Kind::Integer { min: 0, max }
}

const fn bytes_from(min: i64) -> Kind {
    Kind::Bytes { min, max: i64::MAX }
}

const INT: Kind = upto(i32::MAX as i64);
const SIGNED_INT: Kind = Kind::Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
const LONG: Kind = upto(i64::MAX);
const YES_NO: Kind = Kind::Flag;

const DISKLESS_LOAD: Kind = Kind::Choice(&[
    Choice::same("disabled"),
    Choice::same("on-empty-db"),
    Choice::same("swapdb"),
    Choice::same("flush-before-load"),
]);
const OOM_SCORE_ADJ: Kind =
    Kind::Choice(&[Choice::same("no"), Choice::same("yes"), Choice::same("relative"), Choice::same("absolute")]);
const SANITIZE: Kind = Kind::Choice(&[Choice::same("no"), Choice::same("yes"), Choice::same("clients")]);
const PROPAGATION: Kind =
    Kind::Choice(&[Choice::same("ignore"), Choice::same("panic"), Choice::same("panic-on-replicas")]);
const ENDPOINT: Kind = Kind::Choice(&[Choice::same("ip"), Choice::same("hostname"), Choice::same("unknown-endpoint")]);

/// Every accepted parameter, once.
pub static ACCEPTED: &[Setting] = &[
    // Snapshots and the append-only file: the journal is always on and checkpoints time themselves.
    plain("save", Kind::Words(special::save), "", Live),
    plain("appendonly", YES_NO, "yes", Live),
    plain("appendfilename", Kind::Text, "appendonly.aof", Start),
    plain("appenddirname", Kind::Text, "appendonlydir", Start),
    plain("dbfilename", Kind::Text, "dump.rdb", Protected),
    plain("auto-aof-rewrite-percentage", INT, "100", Live),
    plain("auto-aof-rewrite-min-size", bytes_from(0), "64mb", Live),
    plain("aof-load-truncated", YES_NO, "yes", Live),
    plain("aof-use-rdb-preamble", YES_NO, "yes", Live),
    plain("aof-timestamp-enabled", YES_NO, "no", Live),
    plain("aof-rewrite-incremental-fsync", YES_NO, "yes", Live),
    plain("no-appendfsync-on-rewrite", YES_NO, "no", Live),
    plain("rdbcompression", YES_NO, "yes", Live),
    plain("rdbchecksum", YES_NO, "yes", Start),
    plain("rdb-save-incremental-fsync", YES_NO, "yes", Live),
    plain("rdb-del-sync-files", YES_NO, "no", Live),
    plain("stop-writes-on-bgsave-error", YES_NO, "yes", Live),
    plain("sanitize-dump-payload", SANITIZE, "no", Live),
    // Encodings: Larder chooses its own.
    row("hash-max-listpack-entries", &["hash-max-ziplist-entries"], LONG, "512", Live),
    row("hash-max-listpack-value", &["hash-max-ziplist-value"], bytes_from(0), "64", Live),
    row("list-max-listpack-size", &["list-max-ziplist-size"], SIGNED_INT, "-2", Live),
    plain("list-compress-depth", INT, "0", Live),
    plain("set-max-intset-entries", LONG, "512", Live),
    plain("set-max-listpack-entries", LONG, "128", Live),
    plain("set-max-listpack-value", LONG, "64", Live),
    row("zset-max-listpack-entries", &["zset-max-ziplist-entries"], LONG, "128", Live),
    row("zset-max-listpack-value", &["zset-max-ziplist-value"], bytes_from(0), "64", Live),
    plain("hll-sparse-max-bytes", bytes_from(0), "3000", Live),
    // Memory housekeeping that Larder's allocator and index do not need.
    plain("activedefrag", YES_NO, "no", Live),
    plain("active-defrag-ignore-bytes", bytes_from(1), "100mb", Live),
    plain("active-defrag-threshold-lower", upto(1000), "10", Live),
    plain("active-defrag-threshold-upper", upto(1000), "100", Live),
    plain("active-defrag-cycle-min", Kind::Integer { min: 1, max: 99 }, "1", Live),
    plain("active-defrag-cycle-max", Kind::Integer { min: 1, max: 99 }, "25", Live),
    plain("active-defrag-max-scan-fields", Kind::Integer { min: 1, max: i64::MAX }, "1000", Live),
    plain("activerehashing", YES_NO, "yes", Live),
    plain("jemalloc-bg-thread", YES_NO, "yes", Live),
    plain("lazyfree-lazy-eviction", YES_NO, "no", Live),
    plain("lazyfree-lazy-expire", YES_NO, "no", Live),
    plain("lazyfree-lazy-server-del", YES_NO, "no", Live),
    plain("lazyfree-lazy-user-del", YES_NO, "no", Live),
    plain("lazyfree-lazy-user-flush", YES_NO, "no", Live),
    plain("maxmemory-clients", Kind::BytesOrPercent, "0", Live),
    plain("maxmemory-eviction-tenacity", upto(100), "10", Live),
    plain("active-expire-effort", Kind::Integer { min: 1, max: 10 }, "1", Live),
    plain("oom-score-adj", OOM_SCORE_ADJ, "no", Live),
    plain("oom-score-adj-values", Kind::Words(special::oom_scores), "0 200 800", Live),
    // The event loop, which is another one here.
    plain("hz", INT, "10", Live),
    plain("dynamic-hz", YES_NO, "yes", Live),
    plain("io-threads", Kind::Integer { min: 1, max: 128 }, "1", Start),
    plain("tcp-backlog", INT, "511", Start),
    plain("prefetch-batch-max-size", upto(128), "16", Live),
    plain("max-new-connections-per-cycle", Kind::Integer { min: 1, max: 1000 }, "10", Live),
    plain("shutdown-timeout", INT, "10", Live),
    plain("shutdown-on-sigint", Kind::Words(special::shutdown_flags), "default", Live),
    plain("shutdown-on-sigterm", Kind::Words(special::shutdown_flags), "default", Live),
    plain("databases", Kind::Integer { min: 1, max: i32::MAX as i64 }, "16", Start),
    // Observability of Redis that Larder does another way, or always.
    plain("latency-tracking", YES_NO, "yes", Live),
    plain("latency-tracking-info-percentiles", Kind::Words(special::percentiles), "50 99 99.9", Live),
    plain("crash-log-enabled", YES_NO, "yes", Live),
    plain("crash-memcheck-enabled", YES_NO, "yes", Live),
    plain("propagation-error-behavior", PROPAGATION, "ignore", Live),
    plain("logfile", Kind::Text, "", Start),
    plain("syslog-enabled", YES_NO, "no", Start),
    plain("syslog-ident", Kind::Text, "larder", Start),
    plain("always-show-logo", YES_NO, "no", Start),
    plain("set-proc-title", YES_NO, "yes", Start),
    plain("proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}", Live),
    plain("ignore-warnings", Kind::Text, "", Live),
    plain("locale-collate", Kind::Text, "", Live),
    // The process and its sockets.
    plain("protected-mode", YES_NO, "yes", Live),
    plain("availability-zone", Kind::Text, "", Live),
    plain("daemonize", YES_NO, "no", Start),
    plain("supervised", Kind::Text, "no", Start),
    plain("pidfile", Kind::Text, "", Start),
    plain("unixsocket", Kind::Text, "", Start),
    plain("unixsocketperm", Kind::Text, "0", Start),
    plain("bind-source-addr", Kind::Text, "", Live),
    plain("disable-thp", YES_NO, "yes", Start),
    plain("enable-protected-configs", Kind::Text, "no", Start),
    plain("enable-debug-command", Kind::Text, "yes", Start),
    plain("enable-module-command", Kind::Text, "no", Start),
    // Replication and cluster of Redis.
    row("replicaof", &["slaveof"], Kind::Text, "", Start),
    row("replica-serve-stale-data", &["slave-serve-stale-data"], YES_NO, "yes", Live),
    row("replica-read-only", &["slave-read-only"], YES_NO, "yes", Live),
    row("replica-lazy-flush", &["slave-lazy-flush"], YES_NO, "yes", Live),
    row("replica-ignore-maxmemory", &["slave-ignore-maxmemory"], YES_NO, "yes", Live),
    row("replica-priority", &["slave-priority"], INT, "100", Live),
    row("replica-announce-ip", &["slave-announce-ip"], Kind::Text, "", Live),
    row("replica-announce-port", &["slave-announce-port"], upto(u16::MAX as i64), "0", Live),
    plain("replica-announced", YES_NO, "yes", Live),
    row("min-replicas-to-write", &["min-slaves-to-write"], INT, "0", Live),
    row("min-replicas-max-lag", &["min-slaves-max-lag"], INT, "10", Live),
    plain("repl-backlog-size", bytes_from(1), "10mb", Live),
    plain("repl-backlog-ttl", LONG, "3600", Live),
    plain("repl-timeout", Kind::Integer { min: 1, max: i32::MAX as i64 }, "60", Live),
    row(
        "repl-ping-replica-period",
        &["repl-ping-slave-period"],
        Kind::Integer { min: 1, max: i32::MAX as i64 },
        "10",
        Live,
    ),
    plain("repl-diskless-sync", YES_NO, "yes", Live),
    plain("repl-diskless-sync-delay", INT, "5", Live),
    plain("repl-diskless-sync-max-replicas", INT, "0", Live),
    plain("repl-diskless-load", DISKLESS_LOAD, "disabled", Live),
    plain("repl-disable-tcp-nodelay", YES_NO, "no", Live),
    plain("cluster-enabled", YES_NO, "no", Start),
    plain("cluster-config-file", Kind::Text, "nodes.conf", Start),
    plain("cluster-port", upto(u16::MAX as i64), "0", Start),
    plain("cluster-node-timeout", LONG, "15000", Live),
    plain("cluster-require-full-coverage", YES_NO, "yes", Live),
    plain("cluster-allow-reads-when-down", YES_NO, "no", Live),
    plain("cluster-allow-replica-migration", YES_NO, "yes", Live),
    plain("cluster-migration-barrier", INT, "1", Live),
    row("cluster-replica-validity-factor", &["cluster-slave-validity-factor"], INT, "10", Live),
    row("cluster-replica-no-failover", &["cluster-slave-no-failover"], YES_NO, "no", Live),
    plain("cluster-announce-hostname", Kind::Text, "", Live),
    plain("cluster-link-sendbuf-limit", bytes_from(0), "0", Live),
    plain("cluster-preferred-endpoint-type", ENDPOINT, "ip", Live),
    // What only test suites set.
    hidden("key-load-delay", SIGNED_INT, "0"),
    hidden("rdb-key-save-delay", SIGNED_INT, "0"),
    hidden("loading-process-events-interval-bytes", Kind::Bytes { min: 1024, max: i32::MAX as i64 }, "2mb"),
    hidden("watchdog-period", INT, "0"),
    hidden("min-io-threads-avoid-copy-reply", INT, "7"),
    hidden("min-string-size-avoid-copy-reply", INT, "16384"),
    hidden("min-string-size-avoid-copy-reply-threaded", INT, "65536"),
];
