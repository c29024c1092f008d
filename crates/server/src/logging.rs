//! Log lines on stderr: one line of text for people or one JSON object for machines, from a level that can be
//! changed while the server runs.
//!
//! Deliberately not: files, rotation, syslog. Whoever starts the process decides where stderr goes.
//!
//! Source: the twelve-factor rule for logs; `tracing-subscriber` does the work.

use std::io::{IsTerminal, stderr};

use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, filter::LevelFilter, reload};

use crate::config::{LogFormat, LogLevel};

/// Changes the level of the log it was started with.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<LevelFilter, Registry>,
}

impl LogControl {
    /// Logs from `level` on, from the next line.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the log itself is gone, and then there is nobody to tell.
        let _ = self.filter.reload(filter_of(level));
    }
}

/// Starts logging for the whole process.
///
/// # Panics
/// When called twice.
pub fn start(format: LogFormat, level: LogLevel) -> LogControl {
    let (subscriber, control) = subscriber(format, level, stderr, stderr().is_terminal());
    let started = tracing::subscriber::set_global_default(subscriber);
    assert!(started.is_ok(), "logging is started once");
    control
}

fn subscriber<W>(
    format: LogFormat,
    level: LogLevel,
    writer: W,
    is_coloured: bool,
) -> (Box<dyn Subscriber + Send + Sync>, LogControl)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let lines = fmt::layer().with_writer(writer).with_target(false).with_ansi(is_coloured);
    let lines = match format {
        LogFormat::Text => lines.compact().boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    (Box::new(Registry::default().with(filter).with(lines)), LogControl { filter: handle })
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(format: LogFormat, log: impl Fn(&LogControl)) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        let (subscriber, control) = subscriber(format, LogLevel::Info, move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || log(&control));
        let text = String::from_utf8(captured.0.lock().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn text_is_one_line_with_its_fields() {
        let lines = lines_of(LogFormat::Text, |_| tracing::warn!(port = 6379, "port is taken"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("WARN port is taken port=6379"), "{lines:?}");
    }

    #[test]
    fn json_is_one_object_with_its_fields_on_top() {
        let lines = lines_of(LogFormat::Json, |_| tracing::info!(port = 6379, "ready"));
        let part = r#""level":"INFO","message":"ready","port":6379}"#;
        assert!(lines[0].starts_with("{\"timestamp\":") && lines[0].ends_with(part), "{lines:?}");
    }

    #[test]
    fn the_level_can_be_changed_in_between() {
        let lines = lines_of(LogFormat::Text, |control| {
            tracing::debug!("too quiet");
            control.set_level(LogLevel::Debug);
            tracing::debug!("heard");
            control.set_level(LogLevel::Off);
            tracing::error!("not wanted");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("heard"));
    }
}
