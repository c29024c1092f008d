//! Typed readers: what running code asks the settings for, each by a name of its own.
//!
//! Deliberately not: settings nobody reads while running; `Settings::number` and `Settings::text` reach those.
//!
//! Invariant: the variants of an enum here are in the order of its words in `table.rs`, which a test compares.

use std::net::IpAddr;
use std::path::PathBuf;

use super::kind::Value;
use super::settings::{BIND, REQUIREPASS, Settings};
use super::{SettingId, special, table};

/// When an acknowledged write is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Within a second.
    EverySec,
    /// Before its reply.
    Always,
    /// When the operating system likes.
    Os,
}

impl SyncMode {
    const ALL: [SyncMode; table::SYNC.len()] = [SyncMode::EverySec, SyncMode::Always, SyncMode::Os];
}

/// What happens at the memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of Redis; `Spill` is described at `maxmemory-policy`")]
pub enum MaxmemoryPolicy {
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    NoEviction,
    Spill,
}

impl MaxmemoryPolicy {
    const ALL: [MaxmemoryPolicy; table::POLICIES.len()] = [
        MaxmemoryPolicy::VolatileLru,
        MaxmemoryPolicy::VolatileLfu,
        MaxmemoryPolicy::VolatileRandom,
        MaxmemoryPolicy::VolatileTtl,
        MaxmemoryPolicy::AllkeysLru,
        MaxmemoryPolicy::AllkeysLfu,
        MaxmemoryPolicy::AllkeysRandom,
        MaxmemoryPolicy::NoEviction,
        MaxmemoryPolicy::Spill,
    ];
}

/// Least severe line that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the usual words")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Off,
}

impl LogLevel {
    const ALL: [LogLevel; table::LOG_LEVELS.len()] =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Off];

    /// The level of a value of `log-level`, for `on_change`.
    pub fn of(value: &Value) -> LogLevel {
        LogLevel::ALL[value.number as usize]
    }
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object.
    Json,
}

impl LogFormat {
    const ALL: [LogFormat; table::LOG_FORMATS.len()] = [LogFormat::Text, LogFormat::Json];
}

/// Which clients of TLS must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsAuthClients {
    /// None, and none is asked for.
    No,
    /// Every one.
    Yes,
    /// None, but one that is shown must be good.
    Optional,
}

impl TlsAuthClients {
    const ALL: [TlsAuthClients; table::TLS_AUTH_CLIENTS.len()] =
        [TlsAuthClients::No, TlsAuthClients::Yes, TlsAuthClients::Optional];
}

/// Class of a client in `client-output-buffer-limit`, in the order its normal text has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    /// Everybody else.
    Normal,
    /// Another node that follows this one.
    Replica,
    /// A subscriber.
    Pubsub,
}

/// How many bytes of replies a client may leave unread; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closed at once from here on.
    pub hard_bytes: u64,
    /// Closed when past this for `soft_seconds`.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

/// One reader per number that running code asks for by name.
macro_rules! readers {
    ($($(#[$doc:meta])* $reader:ident: $type:ty = $name:literal;)*) => {
        impl Settings {
            $($(#[$doc])*
            pub fn $reader(&self) -> $type {
                const ID: SettingId = SettingId::of($name);
                self.number(ID) as $type
            })*
        }
    };
}

readers! {
    /// Port for clients of the Redis protocol; 0 serves none.
    port: u16 = "port";
    /// Port for them over TLS; 0 serves none.
    tls_port: u16 = "tls-port";
    /// HTTP port for metrics and health; 0 serves none.
    admin_port: u16 = "admin-port";
    /// Most connections at a time.
    clients_max: usize = "maxclients";
    /// Seconds after which a silent connection is closed; 0 is never.
    idle_seconds_max: u64 = "timeout";
    /// Seconds between keep-alive probes; 0 sends none.
    keepalive_seconds: u64 = "tcp-keepalive";
    /// Largest single argument of a command.
    bulk_bytes_max: usize = "proto-max-bulk-len";
    /// Most bytes of unexecuted commands of one connection.
    query_bytes_max: usize = "client-query-buffer-limit";
    /// Partitions of a new data directory.
    partition_count: u16 = "partitions";
    /// Size at which the journal starts another segment.
    segment_bytes: u32 = "segment-bytes";
    /// Memory for keys and values; 0 is no limit.
    memory_bytes_max: u64 = "maxmemory";
    /// Keys looked at to find one to spill or evict.
    eviction_samples: usize = "maxmemory-samples";
    /// How slowly the lfu counter saturates.
    lfu_log_factor: u32 = "lfu-log-factor";
    /// Minutes after which the lfu counter falls by one; 0 is never.
    lfu_decay_minutes: u32 = "lfu-decay-time";
    /// Bytes of a block of a stream; 0 is no limit.
    stream_block_bytes_max: u64 = "stream-node-max-bytes";
    /// Entries of a block of a stream; 0 is no limit.
    stream_block_entries_max: u64 = "stream-node-max-entries";
    /// Whether what has ended is kept; not 0 is yes.
    import_mode: u8 = "import-mode";
    /// Milliseconds after which a script is slow; 0 is never.
    script_slow_after_ms: u64 = "busy-reply-threshold";
    /// Microseconds from which a command enters the slow log; negative is never.
    slowlog_from_us: i64 = "slowlog-log-slower-than";
    /// Entries the slow log keeps.
    slowlog_count_max: usize = "slowlog-max-len";
    /// Bytes of arguments from which a command enters the log of large requests; negative is never.
    large_request_from_bytes: i64 = "commandlog-request-larger-than";
    /// Entries the log of large requests keeps.
    large_request_count_max: usize = "commandlog-large-request-max-len";
    /// Bytes of a reply from which its command enters the log of large replies; negative is never.
    large_reply_from_bytes: i64 = "commandlog-reply-larger-than";
    /// Entries the log of large replies keeps.
    large_reply_count_max: usize = "commandlog-large-reply-max-len";
    /// Milliseconds from which LATENCY records an event; 0 is never.
    latency_from_ms: u64 = "latency-monitor-threshold";
}

impl Settings {
    /// When an acknowledged write is on disk.
    pub fn sync(&self) -> SyncMode {
        SyncMode::ALL[self.number(const { SettingId::of("sync") }) as usize]
    }

    /// What happens at the memory limit.
    pub fn maxmemory_policy(&self) -> MaxmemoryPolicy {
        MaxmemoryPolicy::ALL[self.number(const { SettingId::of("maxmemory-policy") }) as usize]
    }

    /// Least severe line that is logged.
    pub fn log_level(&self) -> LogLevel {
        LogLevel::ALL[self.number(const { SettingId::of("log-level") }) as usize]
    }

    /// Shape of a log line.
    pub fn log_format(&self) -> LogFormat {
        LogFormat::ALL[self.number(const { SettingId::of("log-format") }) as usize]
    }

    /// Which clients of TLS must show a certificate.
    pub fn tls_auth_clients(&self) -> TlsAuthClients {
        TlsAuthClients::ALL[self.number(const { SettingId::of("tls-auth-clients") }) as usize]
    }

    /// Whether the admin port speaks TLS.
    pub fn admin_tls(&self) -> bool {
        self.number(const { SettingId::of("admin-tls") }) == 1
    }

    /// Directory that holds all data, absolute.
    pub fn data_dir(&self) -> PathBuf {
        PathBuf::from(self.text(const { SettingId::of("data-dir") }))
    }

    /// The password clients must give; `None` asks for none.
    pub fn password(&self) -> Option<String> {
        Some(self.text(REQUIREPASS)).filter(|password| !password.is_empty())
    }

    /// Addresses to serve clients on.
    pub fn bind_addresses(&self) -> Vec<IpAddr> {
        special::bind_addresses(&self.text(BIND))
    }

    /// Addresses of the admin port.
    pub fn admin_addresses(&self) -> Vec<IpAddr> {
        special::bind_addresses(&self.text(const { SettingId::of("admin-bind") }))
    }

    /// Limit of unread replies for a class of clients. Parses text: keep it until `generation` moves.
    pub fn output_limit(&self, class: ClientClass) -> OutputLimit {
        let limits = special::split_limits(&self.text(const { SettingId::of("client-output-buffer-limit") }));
        let (hard_bytes, soft_bytes, soft_seconds) = limits[class as usize];
        OutputLimit { hard_bytes, soft_bytes, soft_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::defaults;

    #[test]
    fn typed_readers_agree_with_the_words_of_the_table() {
        let settings = defaults();
        let is_word = |word: &str, debug: String| word.replace('-', "") == debug.to_lowercase();
        for (choices, words) in [
            (table::SYNC, SyncMode::ALL.map(|mode| format!("{mode:?}")).to_vec()),
            (table::POLICIES, MaxmemoryPolicy::ALL.map(|policy| format!("{policy:?}")).to_vec()),
            (table::LOG_LEVELS, LogLevel::ALL.map(|level| format!("{level:?}")).to_vec()),
            (table::LOG_FORMATS, LogFormat::ALL.map(|format| format!("{format:?}")).to_vec()),
            (table::TLS_AUTH_CLIENTS, TlsAuthClients::ALL.map(|clients| format!("{clients:?}")).to_vec()),
        ] {
            assert!(choices.iter().zip(words).all(|(choice, word)| is_word(choice.larder, word)));
        }
        assert_eq!((settings.sync(), settings.maxmemory_policy()), (SyncMode::EverySec, MaxmemoryPolicy::Spill));
        assert_eq!((settings.port(), settings.admin_port(), settings.segment_bytes()), (6379, 9121, 64 << 20));
        let replica = OutputLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 };
        assert_eq!(settings.output_limit(ClientClass::Replica), replica);
    }
}
