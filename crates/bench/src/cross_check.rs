//! The same question asked with `redis-benchmark`, to show that this bench's own client does not make the figures.

use std::process::Command;

use crate::error::Error;
use crate::procfs;
use crate::server::Server;
use crate::workload::Op;

/// What `redis-benchmark` and the kernel said of one run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests per second.
    pub throughput: f64,
    /// Server CPU per request.
    pub cpu_us: f64,
}

/// Runs `redis-benchmark` on the load core; `None` for operations it does not have, or has with other keys.
pub fn run(
    server: &Server,
    op: Op,
    connections: usize,
    pipeline: u64,
    value_bytes: usize,
    keys: u64,
    requests: u64,
) -> Result<Option<Sample>, Error> {
    let test = match op {
        Op::Set => "set",
        Op::Get => "get",
        _ => return Ok(None),
    };
    let flags = [
        ("-p", server.port().to_string()),
        ("-t", test.into()),
        ("-c", connections.to_string()),
        ("-P", pipeline.to_string()),
        ("-d", value_bytes.to_string()),
        ("-r", keys.to_string()),
        ("-n", requests.to_string()),
    ];
    let mut command = Command::new("redis-benchmark");
    command.arg("--csv").args(flags.iter().flat_map(|(flag, value)| [*flag, value.as_str()]));
    let cpu_before = procfs::cpu_time(server.pid())?;
    let output = command.output().map_err(Error::io("run redis-benchmark"))?;
    let cpu = procfs::cpu_time(server.pid())?.saturating_sub(cpu_before);
    let text = String::from_utf8_lossy(&output.stdout);
    let throughput = throughput(&text)
        .ok_or_else(|| Error::WrongAnswer { detail: format!("redis-benchmark printed no figure: {text}") })?;
    Ok(Some(Sample { throughput, cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64 }))
}

/// Second field of the last line, `"SET","81234.56",...`.
fn throughput(csv: &str) -> Option<f64> {
    csv.lines().last()?.split(',').nth(1)?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_read_from_the_csv() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"81234.56\",\"0.5\"\n";
        assert_eq!(throughput(csv), Some(81234.56));
        assert_eq!(throughput("Could not connect"), None);
    }
}
