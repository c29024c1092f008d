//! The programs under `tests/`: what they need, and how CI runs them.
//!
//! Deliberately not here: what they check; each program's own head says that. Their Python packages live in a virtual
//! environment under `target/`, pinned by `tests/requirements.txt`, so nothing is installed on the machine.

use crate::step::{Failure, at, root, step};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Programs without which the client tests cannot run.
pub const CLIENT_PROGRAMS: &[&str] = &["python3", "redis-cli", "redis-benchmark"];

/// What CI runs, shortest first: each fits in well under a minute or two of two cores.
pub const CI_RUNS: &[(&str, &[&str])] = &[
    ("clients.py", &[]),
    ("stumbles.py", &[]),
    ("http_doors.py", &[]),
    ("large_values.py", &[]),
    ("slices.py", &[]),
    ("http_slow.py", &[]),
    ("hostile.py", &[]),
    ("tls.py", &[]),
    ("openapi.py", &[]),
    ("debugger.py", &[]),
    ("import_redis.py", &[]),
    ("seed_doors.py", &[]),
    ("applications.py", &[]),
    ("apt_index.py", &["--packages", "5000"]),
    ("crash_rounds.py", &["--rounds", "12"]),
    ("crash_rounds.py", &["--plant-loss"]),
];

/// Those of `programs` that cannot be started here.
pub fn missing<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    programs.iter().copied().filter(|program| !starts(program)).collect()
}

fn starts(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn python() -> PathBuf {
    at("target/venv/bin/python")
}

/// Makes the virtual environment hold exactly what `requirements.txt` pins; free when it already does.
pub fn prepare() -> Result<(), Failure> {
    let pins_path = at("tests/requirements.txt");
    let io = |what: &PathBuf| {
        let what = what.display().to_string();
        move |source| Failure::Io { what, source }
    };
    let pins = fs::read(&pins_path).map_err(io(&pins_path))?;
    let installed_path = at("target/venv/installed");
    if fs::read(&installed_path).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    step("virtual environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(at("target/venv")))?;
    let mut install = Command::new(python());
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&pins_path);
    step("python packages", &mut install)?;
    fs::write(&installed_path, pins).map_err(io(&installed_path))
}

/// Runs one program under `tests/` in the virtual environment, against the server in `target/` and `build`.
pub fn run(program: &str, arguments: &[&str], build: &str) -> Result<(), Failure> {
    let mut command = Command::new(python());
    command.arg(at("tests").join(program)).args(arguments).env("LARDER_BUILD", build).current_dir(root());
    step(&format!("{program} {}", arguments.join(" ")), &mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_ci_runs_exists() {
        for (program, _) in CI_RUNS {
            assert!(at("tests").join(program).is_file(), "{program} must be under tests/");
        }
    }

    #[test]
    fn only_programs_that_do_not_start_are_missing() {
        assert_eq!(missing(&["cargo", "no-such-program"]), ["no-such-program"]);
    }
}
