//! `wrk` as the load: one thread, many connections, requests written by a Lua script of ours.
//!
//! Every script ends with the same function, which prints one line of figures: nothing that wrk writes for people is
//! parsed. A run in which any request failed has no figures.
//!
//! Deliberately not here: pinning. The calling thread is on the load core, and so is what it starts.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Error;
use crate::setup::Setup;

/// Begins the line of figures.
const MARK: &str = "larder-bench";
/// Apart from any count of keys, so that adding it over and over visits all keys in no order to speak of.
const STRIDE: u64 = 104_729;
/// Time after which a run that ends with its requests is given up.
const ONCE_SECONDS_MAX: u64 = 60;

/// What a run asks for: one request per key.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT`, `POST`.
    pub method: &'static str,
    /// The target up to the key, which ends it.
    pub target: &'static str,
    /// Bytes of the body; 0 sends none.
    pub body_bytes: usize,
}

/// Which keys are asked for, of `key:000000000000` and those behind it, and for how long.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// Again and again, in no order, for so many seconds.
    Seconds { keys: u64, seconds: u64 },
    /// Each once.
    Once { keys: u64 },
}

/// What wrk counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Requests answered.
    pub requests: u64,
    /// From connecting to the end.
    pub elapsed: Duration,
    /// Half of the requests took less.
    pub p50_us: f64,
    /// All but a hundredth took less.
    pub p99_us: f64,
}

/// Asks `port` of the loopback address over `connections` connections, each with one request under way.
///
/// `dir` is where the script is written.
///
/// # Errors
/// [`Error::Missing`] without wrk; [`Error::WrongAnswer`] when a request failed or was answered with a status from 400 on.
pub fn run(
    setup: &Setup,
    dir: &Path,
    port: u16,
    connections: usize,
    request: &Request,
    keys: Keys,
) -> Result<Run, Error> {
    let file = dir.join("requests.lua");
    fs::write(&file, script(request, keys)).map_err(Error::io("write a script for wrk"))?;
    let seconds = match keys {
        Keys::Seconds { seconds, .. } => seconds,
        Keys::Once { .. } => ONCE_SECONDS_MAX,
    };
    let mut command = Command::new(&setup.wrk_command);
    command.args(["--threads", "1", "--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), "--script"]).arg(&file);
    command.arg(format!("http://127.0.0.1:{port}/")).stdin(Stdio::null());
    let output = command.output().map_err(|source| unavailable(source, &setup.wrk_command, "wrk"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let run = figures(&text)?;
    match keys {
        Keys::Once { keys } if run.requests + (connections as u64) < keys => {
            let detail = format!("{} of {keys} requests were answered in {seconds} s", run.requests);
            Err(Error::WrongAnswer { detail })
        }
        _ => Ok(run),
    }
}

/// The error of a program that cannot be started: mostly that it is not there.
pub fn unavailable(source: std::io::Error, program: &str, package: &'static str) -> Error {
    match source.kind() {
        ErrorKind::NotFound => Error::Missing { program: program.to_owned(), package },
        _ => Error::Io { op: "start a program", source },
    }
}

/// Requests are made one by one as they are sent. A run over each key ends wrk as its interrupt key does, so that the time
/// it reports is that of the run.
fn script(request: &Request, keys: Keys) -> String {
    let Request { method, target, body_bytes } = request;
    let length = if *body_bytes == 0 { String::new() } else { format!("Content-Length: {body_bytes}\\r\\n") };
    let body = if *body_bytes == 0 { "\"\"".into() } else { format!("random_bytes({body_bytes})") };
    let (keys, next) = match keys {
        Keys::Seconds { keys, .. } => (keys, format!("at = (at + {STRIDE}) % keys")),
        Keys::Once { keys } => (keys, "at = at + 1\n  if at == keys then stop() end".into()),
    };
    format!(
        r#"local ffi = require("ffi")
ffi.cdef("int kill(int pid, int signal); int getpid(void);")

local function random_bytes(count)
  local bytes = {{}}
  for index = 1, count do bytes[index] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

local function stop()
  wrk.thread:stop()
  ffi.C.kill(ffi.C.getpid(), 2)
end

local keys, at = {keys}, -1
local head = "{method} {target}key:"
local tail = " HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n" .. {body}

function request()
  {next}
  return head .. string.format("%012d", at % keys) .. tail
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format("{MARK} %d %d %d %d %d",
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
"#
    )
}

/// The numbers that every script prints at its end.
fn figures(text: &str) -> Result<Run, Error> {
    let none = || Error::WrongAnswer { detail: format!("wrk printed no figures: {text}") };
    let line = text.lines().find_map(|line| line.strip_prefix(MARK)).ok_or_else(none)?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [requests, elapsed_us, failed, p50_us, p99_us] = numbers[..] else { return Err(none()) };
    if 0 < failed || requests == 0 {
        return Err(Error::WrongAnswer {
            detail: format!("{failed} requests failed, {requests} were answered: {text}"),
        });
    }
    let elapsed = Duration::from_micros(elapsed_us);
    Ok(Run { requests, elapsed, p50_us: p50_us as f64, p99_us: p99_us as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_a_failed_request_is_an_error() {
        let run = figures("Running 3s test\n  noise 1\nlarder-bench 300 2000000 0 812 1500\n").unwrap();
        let elapsed = Duration::from_secs(2);
        assert_eq!(run, Run { requests: 300, elapsed, p50_us: 812.0, p99_us: 1500.0 });
        for text in ["", "larder-bench 300 2000000", "larder-bench 300 2000000 1 812 1500", "larder-bench 0 1 0 1 1"] {
            assert!(figures(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stride_visits_every_key() {
        for keys in [10_000, 20_000, 100_000, 200_000, 16_384] {
            let mut seen = vec![false; keys as usize];
            (0..keys).for_each(|index| seen[(index * STRIDE % keys) as usize] = true);
            assert!(seen.iter().all(|seen| *seen), "{keys}");
        }
    }
}
