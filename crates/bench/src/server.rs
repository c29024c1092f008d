//! A server under test: started on its core with a fresh or an old data directory, watched, and ended, politely or not.
//!
//! The contestants differ only here. Anything that understands larder's flags can stand in for it
//! (`--larder-command`), which is how the bench itself is tested.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::error::Error;
use crate::resp::Reply;
use crate::setup::Setup;

/// How long a server may take until it answers.
const READY_WAIT_MAX: Duration = Duration::from_mins(10);
/// Pause between two looks at a server that is not ready.
const READY_WAIT_STEP: Duration = Duration::from_millis(2);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    /// `redis-server`.
    Redis,
    /// `larder serve`.
    Larder,
    /// Parses and answers, stores nothing: what no server on this machine can beat by much.
    Floor,
    /// `nginx`, one worker, which answers everything with 200 and no body.
    Nginx,
}

impl Contestant {
    /// Its name in tables and plots.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Larder => "larder",
            Self::Floor => "echo floor",
            Self::Nginx => "nginx",
        }
    }

    /// Whether it keeps what it is told.
    pub fn stores(self) -> bool {
        matches!(self, Self::Redis | Self::Larder)
    }
}

/// When a write is on disk before its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Sync {
    /// Redis keeps nothing on disk; larder, which always journals, runs as with `os`.
    None,
    /// In the page cache: survives the process, not the machine.
    Os,
    /// At most a second may be lost with the machine.
    Everysec,
    /// Nothing may be lost.
    Always,
}

impl Sync {
    /// Its name in tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Os => "os",
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }

    fn larder_flag(self) -> &'static str {
        match self {
            Self::None | Self::Os => "os",
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }

    fn redis_appendfsync(self) -> &'static str {
        match self {
            Self::None | Self::Os => "no",
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }
}

/// Whether Redis may rewrite its append-only file on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AofRewrite {
    /// As Redis is configured by default.
    Default,
    /// Never, so that no fork falls into a throughput run. In Redis's favour.
    Off,
}

/// How a contestant is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Who.
    pub contestant: Contestant,
    /// When its writes reach the disk.
    pub sync: Sync,
    /// larder's `--maxmemory`; `None` leaves its default. Redis never has a limit: it would drop data.
    pub memory_max: Option<String>,
    /// For Redis.
    pub aof_rewrite: AofRewrite,
    /// Bytes of each GET reply of the floor.
    pub floor_value_bytes: usize,
    /// larder's `--http-port`; 0 serves none.
    pub http_port: u16,
}

impl Launch {
    /// A launch with the contestant's own defaults.
    pub fn new(contestant: Contestant, sync: Sync) -> Self {
        let aof_rewrite = AofRewrite::Default;
        Self { contestant, sync, memory_max: None, aof_rewrite, floor_value_bytes: 0, http_port: 0 }
    }

    fn command(&self, setup: &Setup, dir: &Path, port: u16) -> Result<Command, Error> {
        let (data_dir, port_text) = (dir.display().to_string(), port.to_string());
        let (program, args) = match self.contestant {
            Contestant::Redis => (setup.redis_command.clone(), self.redis_args(data_dir, port_text)),
            Contestant::Larder => (setup.larder_command.clone(), self.larder_args(data_dir, port_text)),
            Contestant::Floor => {
                let bench = std::env::current_exe().map_err(Error::io("find this program"))?;
                let value_bytes = self.floor_value_bytes.to_string();
                let args = ["floor", "--port", &port_text, "--value-bytes", &value_bytes].map(String::from).to_vec();
                (bench.display().to_string(), args)
            }
            Contestant::Nginx => (setup.nginx_command.clone(), nginx_args(dir, port)?),
        };
        let mut command = Command::new(program);
        command.args(args);
        Ok(command)
    }

    fn larder_args(&self, dir: String, port: String) -> Vec<String> {
        let mut args = vec!["serve".into(), "--data-dir".into(), dir, "--bind".into(), "127.0.0.1".into()];
        args.extend(["--port".into(), port, "--admin-port".into(), "0".into()]);
        args.extend(["--http-port".into(), self.http_port.to_string()]);
        args.extend(["--sync".into(), self.sync.larder_flag().into()]);
        args.extend(self.memory_max.iter().flat_map(|max| ["--maxmemory".into(), max.clone()]));
        args
    }

    fn redis_args(&self, dir: String, port: String) -> Vec<String> {
        let mut args = vec!["--dir".into(), dir, "--bind".into(), "127.0.0.1".into(), "--port".into(), port];
        args.extend(["--save".into(), String::new()]);
        let append_only = if self.sync == Sync::None { "no" } else { "yes" };
        args.extend(["--appendonly".into(), append_only.into()]);
        args.extend(["--appendfsync".into(), self.sync.redis_appendfsync().into()]);
        if self.aof_rewrite == AofRewrite::Off {
            args.extend(["--auto-aof-rewrite-percentage".into(), "0".into()]);
        }
        args
    }
}

/// Where nginx answers with a body, and how many bytes it has.
pub const CONSTANTS: [(&str, usize); 2] = [("/64/", 64), ("/1024/", 1024)];

/// Writes the configuration of an nginx that answers everything with 200 and a constant: no body, but for [`CONSTANTS`].
/// No log, no limit to a connection's requests, and one process, which is the worker.
fn nginx_args(dir: &Path, port: u16) -> Result<Vec<String>, Error> {
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {what};\n"));
    let constants = [64, 1024].map(|bytes| format!("location /{bytes}/ {{ return 200 \"{}\"; }}\n", "x".repeat(bytes)));
    let text = format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 1000000000;\nkeepalive_timeout 1h;\n{}\
         server {{\nlisten 127.0.0.1:{port};\nlocation / {{ return 200; }}\n{}}}\n}}\n",
        temporary.concat(),
        constants.concat()
    );
    let dir = fs::canonicalize(dir).map_err(Error::io("find nginx's directory"))?;
    fs::write(dir.join("nginx.conf"), text).map_err(Error::io("write nginx's configuration"))?;
    let prefix = dir.display().to_string();
    Ok(["-p", &prefix, "-c", "nginx.conf", "-e", "stderr"].map(String::from).to_vec())
}

/// A data directory and a port that outlive the processes started on them. The directory goes when this is dropped.
pub struct Place {
    dir: tempfile::TempDir,
    /// The port servers of this place listen on.
    pub port: u16,
}

/// A port of the loopback address that was free a moment ago.
pub fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("find a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("find a free port"))?.port())
}

impl Place {
    /// A new empty directory under the setup's work directory, and a port that was free a moment ago.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        fs::create_dir_all(&setup.work_dir).map_err(Error::io("create the work directory"))?;
        let dir = tempfile::tempdir_in(&setup.work_dir).map_err(Error::io("create a data directory"))?;
        fs::create_dir(dir.path().join("data")).map_err(Error::io("create a data directory"))?;
        Ok(Self { dir, port: free_port()? })
    }

    /// Where the server keeps its files.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }
}

/// A running server process. Dropping it kills it.
pub struct Server {
    child: Child,
    contestant: Contestant,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts a process pinned to the server core and returns at once; see [`Server::wait_ready`].
    pub fn spawn(setup: &Setup, place: &Place, launch: &Launch) -> Result<Self, Error> {
        let log = place.log();
        let out = File::create(&log).map_err(Error::io("create a log file"))?;
        let err = out.try_clone().map_err(Error::io("create a log file"))?;
        let mut command = launch.command(setup, &place.data_dir(), place.port)?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        setup.pin_to_server_core()?;
        let spawned = command.spawn();
        setup.pin_to_load_core()?;
        let child = spawned.map_err(|source| {
            eprintln!("cannot start {}", command.get_program().display());
            Error::Io { op: "start a server", source }
        })?;
        Ok(Self { child, contestant: launch.contestant, port: place.port, log })
    }

    /// Starts a process and waits until it answers with `keys` keys.
    pub fn start(setup: &Setup, place: &Place, launch: &Launch, keys: u64) -> Result<Self, Error> {
        let mut server = Self::spawn(setup, place, launch)?;
        server.wait_ready(keys)?;
        Ok(server)
    }

    /// Waits until PING is answered PONG and DBSIZE is `keys` (the floor has no DBSIZE; nginx only accepts).
    pub fn wait_ready(&mut self, keys: u64) -> Result<(), Error> {
        let start = Instant::now();
        while start.elapsed() < READY_WAIT_MAX {
            if self.child.try_wait().map_err(Error::io("watch a server"))?.is_some() {
                return Err(Error::ServerDied { server: self.contestant.name(), log: self.keep_log() });
            }
            if self.is_ready(keys) {
                return Ok(());
            }
            thread::sleep(READY_WAIT_STEP);
        }
        Err(Error::ServerNotReady { server: self.contestant.name(), log: self.keep_log() })
    }

    fn is_ready(&self, keys: u64) -> bool {
        if self.contestant == Contestant::Nginx {
            return TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        }
        let Ok(mut client) = Client::connect(self.port) else { return false };
        let ponged = client.call("PING").is_ok_and(|reply| reply == Reply::Simple("PONG".into()));
        ponged && (!self.contestant.stores() || client.call_integer("DBSIZE").is_ok_and(|size| size == keys as i64))
    }

    /// Moves the log out of the place that is about to be dropped.
    fn keep_log(&self) -> PathBuf {
        let kept = std::env::temp_dir().join(format!("larder-bench-{}.log", self.contestant.name().replace(' ', "-")));
        match fs::copy(&self.log, &kept) {
            Ok(_) => kept,
            Err(_) => self.log.clone(),
        }
    }

    /// Who this is.
    pub fn contestant(&self) -> Contestant {
        self.contestant
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A control connection.
    pub fn client(&self) -> Result<Client, Error> {
        Client::connect(self.port)
    }

    /// Ends it with SIGTERM and waits until it is gone.
    pub fn stop(mut self) -> Result<(), Error> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| Error::Io { op: "stop a server", source: error.into() })?;
        self.child.wait().map(drop).map_err(Error::io("wait for a server to stop"))
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) -> Result<(), Error> {
        self.child.kill().map_err(Error::io("kill a server"))?;
        self.child.wait().map(drop).map_err(Error::io("wait for a killed server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
