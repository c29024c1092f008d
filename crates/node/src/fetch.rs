//! Spilled values back into memory, without holding a lock or a runtime thread across the disk.

use crate::node::Node;
use base::SharedBytes;
use journal::ReadMode;
use keyspace::Spilled;
use keyspace::spilled::{self, ReadError};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Node {
    /// Fetches values and gives them back to the keys that still want them. The command that needed them is run
    /// anew afterwards, and finds them, or finds the keys changed.
    ///
    /// # Cost
    /// A `pread` each from the page cache; what is not there is read on a blocking thread.
    ///
    /// # Errors
    /// A value cannot be read: its record is damaged.
    pub async fn fetch(self: &Arc<Self>, wanted: Vec<Spilled>) -> Result<(), ReadError> {
        for spilled in wanted {
            self.counters.fetched.fetch_add(1, Ordering::Relaxed);
            let image = match spilled::read(&self.journal, &spilled, ReadMode::NoWait) {
                Ok(Some(image)) => Ok(image),
                Ok(None) => self.fetch_waiting(spilled.clone()).await,
                Err(error) => Err(error),
            };
            match image {
                Ok(image) => self.give_back(&spilled, image)?,
                // Merge moved the value between the look and the read: the key knows its new home.
                Err(error) if !self.still_wants(&spilled) => drop(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn fetch_waiting(self: &Arc<Self>, spilled: Spilled) -> Result<SharedBytes, ReadError> {
        let node = Arc::clone(self);
        let read = move || {
            let image = spilled::read(&node.journal, &spilled, ReadMode::Wait)?;
            Ok(image.expect("a waiting read does not give up"))
        };
        tokio::task::spawn_blocking(read).await.expect("reading does not panic")
    }

    fn give_back(&self, spilled: &Spilled, image: SharedBytes) -> Result<(), ReadError> {
        let mut partition = self.keyspace.lock(spilled.partition);
        let promoted = partition.promote(spilled.db, &spilled.key, spilled.version, image);
        promoted.map(drop).map_err(|_| ReadError::NotThere { position: spilled.position })
    }

    fn still_wants(&self, spilled: &Spilled) -> bool {
        let partition = self.keyspace.lock(spilled.partition);
        let Some(place) = partition.find(spilled.db, &spilled.key) else { return false };
        let entry = partition.index(spilled.db).entry(place);
        entry.version() == spilled.version && entry.home().0 == spilled.position.pack()
    }
}
