//! As many connections as the system gives file descriptors for, and no more: whoever is turned away is told so, and the
//! journal never lacks one for its next segment.

use crate::config::{SettingId, Settings};

/// Descriptors for anything but clients: segments, listeners, the admin port, checkpoints, the runtime's own.
const RESERVED_MAX: u64 = journal::SEGMENTS_OPEN_MAX as u64 + 64;

/// Clients that `descriptors` are enough for. Where they are few, the journal gets half.
fn clients_possible(descriptors: u64) -> u64 {
    descriptors - RESERVED_MAX.min(descriptors / 2)
}

fn take_for(clients: u64) -> u64 {
    clients_possible(env::take_descriptors(clients + RESERVED_MAX))
}

/// Asks the system for what `maxclients` needs, and lowers it to what there is. Later changes past that are refused.
pub fn follow(settings: &Settings) {
    let wanted = settings.clients_max() as u64;
    let possible = take_for(wanted);
    if possible < wanted {
        tracing::warn!("maxclients has been reduced from {wanted} to {possible}: the limit of open files is too low");
        if let Err(error) = settings.set(&[("maxclients", possible.to_string())]) {
            tracing::error!(%error, "maxclients cannot be reduced");
        }
    }
    settings.on_change(SettingId::of("maxclients"), |value| {
        let wanted = value.number.max(0) as u64;
        match take_for(wanted) {
            possible if possible < wanted => Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            )),
            _ => Ok(()),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_journal() {
        assert_eq!(clients_possible(10_320), 10_000);
        assert_eq!(clients_possible(1024), 704);
        assert_eq!(clients_possible(64), 32);
    }

    #[test]
    fn more_clients_than_the_system_allows_are_refused_and_the_limit_stays() {
        let settings = crate::config::load(crate::config::Inputs::default()).unwrap().settings;
        follow(&settings);
        let before = settings.clients_max();
        let refused = settings.set(&[("maxclients", u32::MAX.to_string())]).expect_err("nobody has so many");
        assert!(refused.to_string().contains("try with"), "{refused}");
        assert_eq!(settings.clients_max(), before);
    }
}
