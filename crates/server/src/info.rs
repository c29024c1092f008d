//! INFO: the server in figures, in Redis's sections and under Redis's names.
//!
//! A field is there when there is something true to say: what Larder does another way (forks, copy on write, scripts)
//! is left out or says zero, and what Redis has no name for is added under a name of its own. In Redis's words, an RDB
//! save and an AOF rewrite are checkpoints here, the AOF is the journal, and a change is a batch that changed something.
//!
//! Deliberately not here: the numbers themselves, which are read from whoever counts them.
//!
//! Source: `genRedisInfoString` of Valkey 9.1 for names and order.

use crate::distribution::percentile_ns;
use crate::host::ServerHost;
use crate::process;
use crate::statistics::{Counter, Totals};
use commands::channels::Kind;
use commands::connection::{REDIS_VERSION, SERVER_NAME, VERSION};
use commands::host::{Host, Memory, PauseMode};
use commands::libraries::Catalog;
use commands::table;
use keyspace::figures::Figures;
use parking_lot::Mutex;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// One section.
struct Section {
    name: &'static str,
    /// Whether plain INFO shows it.
    is_default: bool,
    write: fn(&Facts<'_>, &mut String),
}

/// The sections in the order they are shown.
static SECTIONS: [Section; 13] = [
    Section { name: "Server", is_default: true, write: server },
    Section { name: "Clients", is_default: true, write: clients },
    Section { name: "Memory", is_default: true, write: memory },
    Section { name: "Persistence", is_default: true, write: persistence },
    Section { name: "Stats", is_default: true, write: stats },
    Section { name: "Replication", is_default: true, write: replication },
    Section { name: "CPU", is_default: true, write: cpu },
    Section { name: "Modules", is_default: true, write: |_, _| {} },
    Section { name: "Commandstats", is_default: false, write: commandstats },
    Section { name: "Errorstats", is_default: true, write: errorstats },
    Section { name: "Latencystats", is_default: false, write: latencystats },
    Section { name: "Cluster", is_default: true, write: cluster },
    Section { name: "Keyspace", is_default: true, write: keyspace },
];

impl Section {
    fn is_wanted(&self, asked: &[&[u8]]) -> bool {
        let is = |word: &str| asked.iter().any(|name| name.eq_ignore_ascii_case(word.as_bytes()));
        let is_default = asked.is_empty() || is("default");
        (is_default && self.is_default) || is("all") || is("everything") || is(self.name)
    }
}

/// What several sections are made of.
struct Facts<'h> {
    host: &'h ServerHost,
    figures: &'h Figures,
    totals: Totals,
}

/// Appends the sections that are asked for.
pub fn write(host: &ServerHost, asked: &[&[u8]], figures: &Figures, out: &mut Vec<u8>) {
    let facts = Facts { host, figures, totals: host.statistics.since_reset() };
    let mut text = String::new();
    for section in SECTIONS.iter().filter(|section| section.is_wanted(asked)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {}\r\n", section.name);
        (section.write)(&facts, &mut text);
    }
    out.extend_from_slice(text.as_bytes());
}

/// Writes `name:value` lines.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr,)*) => {
        // Writing to a string cannot fail.
        $(let _ = write!($out, concat!($name, ":{}\r\n"), $value);)*
    };
}

/// Bytes as Redis shows them to people.
fn human(bytes: u64) -> String {
    const UNITS: [(u32, char); 5] = [(50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    match UNITS.into_iter().find(|(shift, _)| 1 << shift <= bytes) {
        Some((shift, letter)) => format!("{:.2}{letter}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes}B"),
    }
}

fn flag(is_set: bool) -> u8 {
    u8::from(is_set)
}

fn server(facts: &Facts<'_>, out: &mut String) {
    let host = facts.host;
    let uptime_seconds = host.statistics.uptime_seconds() as u64;
    let executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    fields! { out,
        "redis_version": REDIS_VERSION,
        "server_name": SERVER_NAME,
        "larder_version": VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_mode": "standalone",
        "os": process::os_name(),
        "arch_bits": usize::BITS,
        "multiplexing_api": "epoll",
        "process_id": std::process::id(),
        "process_supervised": "no",
        "run_id": host.run_id,
        "tcp_port": if host.settings.port() == 0 { host.settings.tls_port() } else { host.settings.port() },
        "server_time_usec": host.wall_us(),
        "uptime_in_seconds": uptime_seconds,
        "uptime_in_days": uptime_seconds / (24 * 3600),
        "hz": host.setting("hz").unwrap_or_default(),
        "configured_hz": host.setting("hz").unwrap_or_default(),
        "lru_clock": (host.wall_us() / 1_000_000) & ((1 << keyspace::entry::ACCESS_BITS) - 1),
        "executable": executable,
        "config_file": host.settings.file().map(|path| path.display().to_string()).unwrap_or_default(),
        "io_threads_active": 0,
        "availability_zone": host.setting("availability-zone").unwrap_or_default(),
        "partitions": host.node.keyspace.partition_count(),
    }
}

fn clients(facts: &Facts<'_>, out: &mut String) {
    let (clients, pause) = (facts.host.clients.totals(), facts.host.clients.pause_now());
    let now_ms = facts.host.wall_us() / 1000;
    let actions = pause.map_or("none", |pause| match pause.mode {
        PauseMode::Write => "write",
        PauseMode::All => "all",
    });
    fields! { out,
        "connected_clients": clients.connected,
        "cluster_connections": 0,
        "maxclients": facts.host.settings.clients_max(),
        "client_recent_max_input_buffer": clients.query_bytes_max,
        "client_recent_max_output_buffer": clients.output_bytes_max,
        "blocked_clients": clients.blocked,
        "tracking_clients": facts.host.clients.tracking().totals().client_count,
        "pubsub_clients": facts.host.clients.channels().subscriber_count(),
        "watching_clients": clients.watching,
        "clients_in_timeout_table": 0,
        "total_watched_keys": clients.watched_count,
        "total_blocking_keys": facts.figures.waited_key_count,
        "total_blocking_keys_on_nokey": facts.figures.waited_or_gone_count,
        "paused_reason": if pause.is_some() { "client_pause" } else { "none" },
        "paused_actions": actions,
        "paused_timeout_milliseconds": pause.map_or(0, |pause| (pause.until.0 - now_ms).max(0)),
    }
}

fn memory(facts: &Facts<'_>, out: &mut String) {
    let memory = facts.host.memory(facts.figures);
    let system_bytes = process::system_memory_bytes();
    let scripts = facts.host.scripts.figures();
    let libraries = |count: fn(&commands::libraries::Catalog) -> usize| facts.host.scripts.libraries().read(count);
    let Memory { used_bytes, peak_bytes, process_bytes, clients_bytes, limit_bytes, .. } = memory;
    fields! { out,
        "used_memory": used_bytes,
        "used_memory_human": human(used_bytes),
        "used_memory_rss": process_bytes,
        "used_memory_rss_human": human(process_bytes),
        "used_memory_peak": peak_bytes,
        "used_memory_peak_human": human(peak_bytes),
        "used_memory_peak_perc": format!("{:.2}%", 100.0 * used_bytes as f64 / peak_bytes.max(1) as f64),
        "used_memory_overhead": memory.overhead_bytes(),
        "used_memory_startup": 0,
        "used_memory_dataset": memory.dataset_bytes(),
        "used_memory_dataset_perc":
            format!("{:.2}%", 100.0 * memory.dataset_bytes() as f64 / used_bytes.max(1) as f64),
        "total_system_memory": system_bytes,
        "total_system_memory_human": human(system_bytes),
        "used_memory_vm_eval": scripts.lua_bytes,
        "used_memory_lua": scripts.lua_bytes,
        "used_memory_lua_human": human(scripts.lua_bytes as u64),
        "used_memory_scripts_eval": scripts.bytes,
        "number_of_cached_scripts": scripts.count,
        "used_memory_scripts": scripts.bytes,
        "used_memory_vm_functions": scripts.functions_lua_bytes,
        "used_memory_vm_total": scripts.lua_bytes + scripts.functions_lua_bytes,
        "used_memory_functions": libraries(Catalog::bytes),
        "number_of_functions": libraries(Catalog::function_count),
        "number_of_libraries": libraries(|catalog| catalog.libraries().len()),
        "maxmemory": limit_bytes,
        "maxmemory_human": human(limit_bytes),
        "maxmemory_policy": facts.host.setting("maxmemory-policy").unwrap_or_default(),
        "mem_fragmentation_ratio": format!("{:.2}", memory.process_ratio()),
        "mem_fragmentation_bytes": process_bytes as i64 - used_bytes as i64,
        "mem_not_counted_for_evict": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": clients_bytes,
        "mem_cluster_links": 0,
        "mem_allocator": "mimalloc",
        "mem_overhead_db_hashtable_rehashing": 0,
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
    }
}

fn persistence(facts: &Facts<'_>, out: &mut String) {
    let node = &facts.host.node;
    let is_running = node.is_checkpointing();
    let status = if node.checkpoint_failed() { "err" } else { "ok" };
    let segments = node.journal.segments();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    fields! { out,
        "loading": 0,
        "async_loading": 0,
        "current_save_keys_processed": 0,
        "current_save_keys_total": 0,
        "rdb_changes_since_last_save": node.batches_since_checkpoint(&facts.figures.versions),
        "rdb_bgsave_in_progress": flag(is_running),
        "rdb_last_save_time": node.checkpoint_finished().0 / 1000,
        "rdb_last_bgsave_status": status,
        "rdb_saves": load(&node.counters.checkpoints),
        "aof_enabled": 1,
        "aof_rewrite_in_progress": flag(is_running),
        "aof_rewrite_scheduled": 0,
        "aof_last_bgrewrite_status": status,
        "aof_last_write_status": if node.journal.is_full() { "err" } else { "ok" },
        "aof_current_size": segments.iter().map(|segment| segment.bytes).sum::<u64>(),
        "journal_segments": segments.len(),
        "journal_segments_removed": load(&node.counters.segments_removed),
        "journal_tail_bytes": node.tail_bytes(),
        "journal_merged_bytes": load(&node.counters.merged_bytes),
        "journal_replayed_records": node.recovered.records,
        "journal_replayed_bytes": node.recovered.bytes,
    }
}

fn stats(facts: &Facts<'_>, out: &mut String) {
    let (host, totals) = (facts.host, &facts.totals);
    let (clients, node) = (host.clients.totals(), host.node_counts(facts.figures));
    let tracking = host.clients.tracking().totals();
    let denied = host.users.counts();
    let now = Flow { commands: totals.calls(), received: clients.received_bytes, sent: clients.sent_bytes };
    let rates = host.rates.at(Instant::now(), now);
    fields! { out,
        "total_connections_received": totals.counter(Counter::Connections),
        "total_commands_processed": totals.calls(),
        "instantaneous_ops_per_sec": rates.commands.round(),
        "total_net_input_bytes": clients.received_bytes,
        "total_net_output_bytes": clients.sent_bytes,
        "instantaneous_input_kbps": format!("{:.2}", rates.received / 1024.0),
        "instantaneous_output_kbps": format!("{:.2}", rates.sent / 1024.0),
        "rejected_connections": totals.counter(Counter::ConnectionsRejected),
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": node.expired_keys,
        "expired_fields": node.expired_fields,
        "evicted_keys": node.evicted,
        "evicted_scripts": facts.host.scripts.figures().evicted_count,
        "spilled_values": node.spilled,
        "fetched_values": node.fetched,
        "evicted_clients": 0,
        "keyspace_hits": totals.counter(Counter::Hits),
        "keyspace_misses": totals.counter(Counter::Misses),
        "pubsub_channels": facts.host.clients.channels().name_count(Kind::Channel),
        "pubsub_patterns": facts.host.clients.channels().name_count(Kind::Pattern),
        "pubsubshard_channels": facts.host.clients.channels().name_count(Kind::Shard),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "tracking_total_keys": tracking.key_count,
        "tracking_total_items": tracking.item_count,
        "tracking_total_prefixes": tracking.prefix_count,
        "unexpected_error_replies": 0,
        "total_error_replies": totals.counter(Counter::Errors),
        "client_query_buffer_limit_disconnections": totals.counter(Counter::QueryLimitReached),
        "client_output_buffer_limit_disconnections": totals.counter(Counter::OutputLimitReached),
        "acl_access_denied_auth": denied.auth,
        "acl_access_denied_cmd": denied.command,
        "acl_access_denied_key": denied.key,
        "acl_access_denied_channel": denied.channel,
        "acl_access_denied_db": denied.database,
    }
}

fn replication(facts: &Facts<'_>, out: &mut String) {
    let node_id = u128::from_be_bytes(facts.host.node.manifest.node_id);
    fields! { out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": format!("{node_id:032x}{:08}", 0),
        "master_replid2": "0".repeat(40),
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": 0,
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    }
}

fn cpu(facts: &Facts<'_>, out: &mut String) {
    let cpu = process::cpu_seconds();
    let seconds = |seconds: f64| format!("{seconds:.6}");
    fields! { out,
        "used_cpu_sys": seconds(cpu.system),
        "used_cpu_user": seconds(cpu.user),
        "used_cpu_sys_children": seconds(cpu.system_children),
        "used_cpu_user_children": seconds(cpu.user_children),
        // There is no main thread: this is how long commands ran, whichever threads they ran on.
        "used_active_time_main_thread": seconds(facts.host.statistics.ever().duration_ns() as f64 / 1e9),
    }
}

fn commandstats(facts: &Facts<'_>, out: &mut String) {
    for (number, command) in facts.totals.called() {
        let (calls, duration_us) = (command.calls(), command.duration_ns / 1000);
        let _ = write!(
            out,
            "cmdstat_{}:calls={calls},usec={duration_us},usec_per_call={:.2},rejected_calls={},failed_calls={}\r\n",
            table::full_name(number),
            duration_us as f64 / calls.max(1) as f64,
            command.rejected,
            command.failed,
        );
    }
}

fn errorstats(facts: &Facts<'_>, out: &mut String) {
    for (code, count) in &facts.totals.errors {
        let _ = write!(out, "errorstat_{}:count={count}\r\n", code.replace([':', '\r', '\n'], "_"));
    }
}

fn latencystats(facts: &Facts<'_>, out: &mut String) {
    if facts.host.setting("latency-tracking").is_some_and(|tracking| tracking == "no") {
        return;
    }
    let percentiles = facts.host.setting("latency-tracking-info-percentiles").unwrap_or_default();
    for (number, command) in facts.totals.called().filter(|(_, command)| 0 < command.calls()) {
        let value = |text: &str| {
            let percent = text.parse().unwrap_or(100.0);
            format!("p{text}={:.3}", percentile_ns(&command.buckets, percent) as f64 / 1000.0)
        };
        let values: Vec<String> = percentiles.split_ascii_whitespace().map(value).collect();
        let _ = write!(out, "latency_percentiles_usec_{}:{}\r\n", table::full_name(number), values.join(","));
    }
}

fn cluster(_facts: &Facts<'_>, out: &mut String) {
    fields! { out, "cluster_enabled": 0, }
}

fn keyspace(facts: &Facts<'_>, out: &mut String) {
    for (number, db) in facts.figures.dbs.iter().enumerate().filter(|(_, db)| 0 < db.key_count) {
        let (keys, expires, fields) = (db.key_count, db.expiring_count, db.expiring_fields_count);
        let _ = write!(out, "db{number}:keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items={fields}\r\n");
    }
}

/// What flows through the server, in all or per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Flow<N = u64> {
    commands: N,
    received: N,
    sent: N,
}

struct Sample {
    at: Instant,
    flow: Flow,
    rates: Flow<f64>,
}

/// How much flows per second, measured between two times somebody asked.
#[derive(Default)]
pub struct Rates(Mutex<Option<Sample>>);

impl Rates {
    /// Rates over less than this would jump about.
    const INTERVAL_MIN: Duration = Duration::from_secs(1);

    fn at(&self, now: Instant, flow: Flow) -> Flow<f64> {
        let mut last = self.0.lock();
        let rates = match &*last {
            Some(sample) if now.duration_since(sample.at) < Self::INTERVAL_MIN => return sample.rates,
            Some(sample) => {
                let seconds = now.duration_since(sample.at).as_secs_f64();
                // A reset in between starts counters anew.
                let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
                Flow {
                    commands: per_second(flow.commands, sample.flow.commands),
                    received: per_second(flow.received, sample.flow.received),
                    sent: per_second(flow.sent, sample.flow.sent),
                }
            }
            None => Flow::default(),
        };
        *last = Some(Sample { at: now, flow, rates });
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(asked: &[&[u8]]) -> Vec<&'static str> {
        SECTIONS.iter().filter(|section| section.is_wanted(asked)).map(|section| section.name).collect()
    }

    #[test]
    fn sections_are_chosen_by_name_default_or_all() {
        assert_eq!(wanted(&[]), wanted(&[b"DEFAULT"]));
        assert!(!wanted(&[]).contains(&"Commandstats"));
        assert_eq!(wanted(&[b"all"]).len(), SECTIONS.len());
        assert_eq!(wanted(&[b"cpu", b"commandSTATS", b"sentinel"]), ["CPU", "Commandstats"]);
        assert_eq!(wanted(&[b"sentinel"]).len(), 0);
    }

    #[test]
    fn bytes_for_people_have_two_decimals_and_a_letter() {
        assert_eq!([0, 1023, 1024, 1_572_864, 5 << 30].map(human), ["0B", "1023B", "1.00K", "1.50M", "5.00G"]);
    }

    #[test]
    fn rates_are_measured_between_questions_a_second_apart() {
        let rates = Rates::default();
        let start = Instant::now();
        let flow = |commands| Flow { commands, received: 0, sent: 0 };
        assert_eq!(rates.at(start, flow(100)).commands, 0.0);
        assert_eq!(rates.at(start + Duration::from_secs(2), flow(300)).commands, 100.0);
        assert_eq!(rates.at(start + Duration::from_millis(2500), flow(900)).commands, 100.0);
        assert_eq!(rates.at(start + Duration::from_secs(4), flow(0)).commands, 0.0);
    }
}
